// <immintrin.h> without GCC 12's false alarms: its AVX-512 intrinsics start from deliberately undefined registers, and
// -Wuninitialized reports them wherever they are inlined (GCC bug 105593).
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif
