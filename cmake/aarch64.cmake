# Cross build for 64-bit Arm on Debian (g++-aarch64-linux-gnu); what it builds runs under qemu-user here.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# The cross compiler's libraries, where the emulator looks for the loader and the shared ones too.
set(TERN_SYSROOT_LIBRARIES /usr/aarch64-linux-gnu)
# "max": every extension that the emulator knows, the dot product among them.
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -cpu max -L ${TERN_SYSROOT_LIBRARIES})
# Programs are the host's; libraries, headers and packages are never.
set(CMAKE_FIND_ROOT_PATH ${TERN_SYSROOT_LIBRARIES})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
