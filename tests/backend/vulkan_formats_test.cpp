// Every format of include/tern/formats.def has its shaders.
#include <gtest/gtest.h>

#include <tern/dtype.h>

#include <numeric>
#include <string>

#include "backend/vulkan/shaders.h"

#if TERN_TESTS_VULKAN
namespace tern::backend::vulkan {
namespace {

TEST(VulkanFormats, EveryFormatHasAShader) {
    for (const DTypeInfo& format : all_dtypes()) {
        const std::string name(format.name);
        for (const char* op : {"matmul/BUFFERS/", "matmul/TEXELS/", "embed/"})
            EXPECT_TRUE(find_shader(op + name))
                << op << name << ": there is no shaders/formats/" << name << ".glsl (lower case)";
        for (const FormatParts& f : all_format_parts())
            if (f.name == name) {
                EXPECT_EQ(std::accumulate(f.parts.begin(), f.parts.end(), 0u), format.block_bytes)
                    << name << ": the parts of its GLSL file are not its block";
            }
    }
}

TEST(VulkanFormats, EveryShaderIsOfAFormat) {
    EXPECT_EQ(all_format_parts().size(), all_dtypes().size());
    EXPECT_FALSE(find_shader("embed/NONE"));
}

}  // namespace
}  // namespace tern::backend::vulkan
#endif
