# Run by ctest with BUILD, SOURCE, WORK, CONFIG, GENERATOR, CXX, PKG_CONFIG and LIBDIR.
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})

# step(WHAT command...): runs it in WORK; the test ends with its output when it fails. Sets `output`.
function(step what)
  execute_process(COMMAND ${ARGN} WORKING_DIRECTORY ${WORK} RESULT_VARIABLE status
    OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${what} failed (${status}):\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

# Installed in one place, used from another: nothing in the package may hold the first path.
step("install" ${CMAKE_COMMAND} --install ${BUILD} --component tern --config ${CONFIG} --prefix ${WORK}/first)
file(RENAME ${WORK}/first ${WORK}/prefix)
foreach(file include/tern/tern.h include/tern/formats.def ${LIBDIR}/cmake/tern/ternConfig.cmake
    ${LIBDIR}/cmake/tern/ternConfigVersion.cmake ${LIBDIR}/cmake/tern/ternTargets.cmake ${LIBDIR}/pkgconfig/tern.pc
    bin/tern)
  if(NOT EXISTS ${WORK}/prefix/${file})
    message(FATAL_ERROR "not installed: ${file}")
  endif()
endforeach()
step("the installed command" ${WORK}/prefix/bin/tern --help)

# examples/embed as a project of its own.
step("configuring examples/embed" ${CMAKE_COMMAND} -S ${SOURCE}/examples/embed -B ${WORK}/embed -G ${GENERATOR}
  -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_BUILD_TYPE=${CONFIG} -DCMAKE_PREFIX_PATH=${WORK}/prefix
  "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")
file(STRINGS ${WORK}/embed/CMakeCache.txt found REGEX "^tern_DIR:")
if(NOT found MATCHES "${WORK}/prefix/")
  message(FATAL_ERROR "examples/embed took another tern: ${found}")
endif()
step("building examples/embed" ${CMAKE_COMMAND} --build ${WORK}/embed)
execute_process(COMMAND ${WORK}/embed/embed ${WORK}/no-such-model.gguf RESULT_VARIABLE status
  OUTPUT_VARIABLE output ERROR_VARIABLE error)
if(NOT status EQUAL 1 OR NOT error MATCHES "no-such-model.gguf")
  message(FATAL_ERROR "embed with a missing model: status ${status}, stderr: ${error}")
endif()
set(model ${WORK}/prefix/share/tern/tern-demo.gguf)
step("running examples/embed" ${WORK}/embed/embed ${model})
if(NOT output MATCHES "[a-z]+[^\n]*\n(stop|length)\n$")
  message(FATAL_ERROR "examples/embed gave: ${output}")
endif()

# examples/batch in the same way: as many answers as prompts.
step("configuring examples/batch" ${CMAKE_COMMAND} -S ${SOURCE}/examples/batch -B ${WORK}/batch -G ${GENERATOR}
  -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_BUILD_TYPE=${CONFIG} -DCMAKE_PREFIX_PATH=${WORK}/prefix
  "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")
step("building examples/batch" ${CMAKE_COMMAND} --build ${WORK}/batch)
file(WRITE ${WORK}/prompts.txt "Once upon a time\nThe cat\nThe sea\n")
execute_process(COMMAND ${WORK}/batch/batch ${model} INPUT_FILE ${WORK}/prompts.txt RESULT_VARIABLE status
  OUTPUT_VARIABLE output ERROR_VARIABLE error)
string(REGEX MATCHALL "\n\\[(stop|length)\\]\n" ends "${output}")
list(LENGTH ends answers)
if(NOT status EQUAL 0 OR NOT answers EQUAL 3)
  message(FATAL_ERROR "examples/batch: status ${status}, stdout: ${output}, stderr: ${error}")
endif()

# A program that knows only pkg-config.
file(WRITE ${WORK}/one.cpp "#include <tern/tern.h>\nint main() { return tern::all_dtypes().empty(); }\n")
set(ENV{PKG_CONFIG_PATH} ${WORK}/prefix/${LIBDIR}/pkgconfig)
step("pkg-config" ${PKG_CONFIG} --cflags --libs tern)
separate_arguments(flags UNIX_COMMAND "${output}")
step("compiling with pkg-config" ${CXX} -std=c++20 -Wall -Wextra -Werror one.cpp -o one ${flags}
  -Wl,-rpath,${WORK}/prefix/${LIBDIR})
step("running the pkg-config program" ./one)
