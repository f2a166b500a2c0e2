# cmake --install: headers, library, the tern command, the built-in model, find_package(tern CONFIG), pkg-config.
include(CMakePackageConfigHelpers)
set(cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tern)

install(DIRECTORY include/tern DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT tern
  FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
install(TARGETS tern EXPORT ternTargets
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tern
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT tern NAMELINK_COMPONENT tern
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT tern)
install(EXPORT ternTargets NAMESPACE tern:: DESTINATION ${cmake_dir} COMPONENT tern)

configure_package_config_file(cmake/ternConfig.cmake.in ${CMAKE_BINARY_DIR}/cmake/ternConfig.cmake
  INSTALL_DESTINATION ${cmake_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/cmake/ternConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/cmake/ternConfig.cmake ${CMAKE_BINARY_DIR}/cmake/ternConfigVersion.cmake
  DESTINATION ${cmake_dir} COMPONENT tern)

# The pkg-config file finds its prefix from its own place, so the installed tree can be moved.
cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_LIBDIR BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX} OUTPUT_VARIABLE libdir)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_INCLUDEDIR BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX}
  OUTPUT_VARIABLE includedir)
cmake_path(SET up NORMALIZE ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${up} OUTPUT_VARIABLE prefix_from_pc)
set(pc_private ".private") # a static library's users link what it needs
if(NOT BUILD_SHARED_LIBS)
  set(pc_private "")
endif()
configure_file(cmake/tern.pc.in ${CMAKE_BINARY_DIR}/cmake/tern.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/cmake/tern.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT tern)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT tern)

get_property(programs GLOBAL PROPERTY tern_programs)
if(programs)
  install(TARGETS ${programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tern)
endif()
install(FILES examples/demo-model/tern-demo.gguf DESTINATION ${CMAKE_INSTALL_DATADIR}/tern COMPONENT tern OPTIONAL)
