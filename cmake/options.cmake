# tern_options: the compile options of every target of this project.
add_library(tern_options INTERFACE)
# The numbers are part of the contract (docs/numerics.md): no contraction that the source does not write.
target_compile_options(tern_options INTERFACE
  -ffp-contract=off -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wcast-align -Wunused
  -Wno-missing-field-initializers) # {.threads = 8} means that the rest keeps its defaults
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(tern_options INTERFACE -Wno-restrict) # false alarms on std::string's + (GCC PR 105651)
endif()
if(TERN_WERROR)
  target_compile_options(tern_options INTERFACE -Werror)
endif()
if(TERN_SANITIZE)
  target_compile_options(tern_options INTERFACE -fsanitize=${TERN_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(tern_options INTERFACE -fsanitize=${TERN_SANITIZE})
endif()
if(TERN_BUILD_FUZZERS)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES Clang)
    message(FATAL_ERROR "TERN_BUILD_FUZZERS needs Clang (libFuzzer): configure with -DCMAKE_CXX_COMPILER=clang++")
  endif()
  target_compile_options(tern_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
