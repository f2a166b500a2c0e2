// Everything a program needs.
#pragma once

#include <tern/chat.h>
#include <tern/dtype.h>
#include <tern/embed.h>
#include <tern/engine.h>
#include <tern/error.h>
#include <tern/gguf.h>
#include <tern/model.h>
#include <tern/runtime.h>
#include <tern/sampler.h>
#include <tern/tokenizer.h>
#include <tern/verify.h>
