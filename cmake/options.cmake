# tern_options: the compile options of every target of this project.
add_library(tern_options INTERFACE)
# The numbers are part of the contract (docs/numerics.md): no contraction the source does not write.
target_compile_options(tern_options INTERFACE
  -ffp-contract=off -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wcast-align -Wunused)
if(TERN_WERROR)
  target_compile_options(tern_options INTERFACE -Werror)
endif()
if(TERN_SANITIZE)
  target_compile_options(tern_options INTERFACE -fsanitize=${TERN_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(tern_options INTERFACE -fsanitize=${TERN_SANITIZE})
endif()
