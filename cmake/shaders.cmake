# Compute shaders to SPIR-V, embedded in the library. Needs the Vulkan headers and glslang; neither is linked: the loader
# is opened when the backend is asked for, and glslang runs at build time only.
#
# tern_compile_shaders(TARGET): adds the compiled shaders to TARGET.
function(tern_compile_shaders target)
  add_executable(shader_compiler ${PROJECT_SOURCE_DIR}/cmake/shader_compiler.cpp)
  set_target_properties(shader_compiler PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/shaders)
  target_link_libraries(shader_compiler PRIVATE glslang::glslang glslang::SPIRV
    glslang::glslang-default-resource-limits Threads::Threads)
  set(out ${PROJECT_BINARY_DIR}/shaders/shaders.cpp)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/shaders/*)
  add_custom_command(OUTPUT ${out}
    COMMAND shader_compiler ${PROJECT_SOURCE_DIR}/shaders ${out} ${out}.d
    DEPENDS shader_compiler ${sources} DEPFILE ${out}.d
    COMMENT "Compiling shaders" VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()
