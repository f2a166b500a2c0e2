// What rotary tables are made of: logarithm and exponential of doubles from basic operations alone, the same bits
// everywhere (docs/numerics.md, "Rotary tables").
#pragma once

namespace tern::kernels {

double natural_log(double x);  // x finite, normal and > 0
double natural_exp(double x);  // -700 < x < 700

}  // namespace tern::kernels
