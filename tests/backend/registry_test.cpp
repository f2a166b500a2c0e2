#include <gtest/gtest.h>
#include <tern/error.h>

#include "backend/interface.h"
#include "kernels/registry.h"

namespace tern {
namespace {

TEST(Backends, UnknownNamesAreRefusedWithTheKnownOnes) {
    try {
        backend::make_backend("cuda", "", 1);
        FAIL();
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
        EXPECT_NE(std::string(e.what()).find("cpu"), std::string::npos) << e.what();
    }
    try {
        backend::make_backend("cpu", "sse9", 1);
        FAIL();
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::unsupported);
        EXPECT_NE(std::string(e.what()).find("scalar"), std::string::npos) << e.what();
    }
    EXPECT_THROW(backend::make_backend("ref", "avx2", 1), Error);
}

TEST(Backends, BlasIsThereOrSaysWhatWouldHelp) {
    if (TERN_HAVE_OPENBLAS) {
        const auto blas = backend::make_backend("blas", "", 2);
        EXPECT_EQ(blas->name(), "blas");
        EXPECT_EQ(blas->threads(), 2u);
        EXPECT_TRUE(blas->info().starts_with("OpenBLAS ")) << blas->info();
        EXPECT_EQ(backend::make_backend("blas", "scalar", 1)->isa(), std::string("scalar"));
        return;
    }
    try {
        backend::make_backend("blas", "", 1);
        FAIL();
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::unsupported);
        for (const char* part : {"blas", "libopenblas-dev", "TERN_BLAS", "'cpu'"})
            EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
}

TEST(Backends, ForcedInstructionSetIsTheOneInUse) {
    const kernels::IsaList list = kernels::isas(kernels::detect_cpu());
    for (std::size_t i = 0; i < list.count; ++i) {
        if (list.items[i].usable)
            EXPECT_EQ(backend::make_backend("cpu", list.items[i].name, 1)->isa(), list.items[i].name);
        else
            EXPECT_THROW(backend::make_backend("cpu", list.items[i].name, 1), Error);
    }
    EXPECT_EQ(backend::make_backend("ref", "", 3)->threads(), 3u);
}

}  // namespace
}  // namespace tern
