#include "support/nmse.h"

#include <gtest/gtest.h>

namespace tern::test {
namespace {

TEST(Nmse, IsWhatItSays) {
    const float a[] = {1, 2, 2}, b[] = {1, 2, 2.5f};
    EXPECT_EQ(nmse(a, a), 0);
    EXPECT_DOUBLE_EQ(nmse(b, a), 0.25 / 9);
    EXPECT_DOUBLE_EQ(nmse(a, b), 0.25 / 11.25);
}

}  // namespace
}  // namespace tern::test
