# Instruction sets: one line each. tern_isa(folder processor flags...) compiles kernels/<folder> with its flags.
set(TERN_ISAS "")
function(tern_isa name processors)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "${processors}")
    set(TERN_ISAS ${TERN_ISAS} ${name} PARENT_SCOPE)
    set(TERN_ISA_FLAGS_${name} ${ARGN} PARENT_SCOPE)
  endif()
endfunction()

# Without the alignment the panels' long loops lose 10 to 25 % wherever the code before them happens to end badly.
tern_isa(avx2 "x86_64|AMD64" -mavx2 -mfma -mf16c -falign-loops=64)
tern_isa(avxvnni "x86_64|AMD64" -mavx2 -mfma -mf16c -mavxvnni -falign-loops=64)
tern_isa(avx512 "x86_64|AMD64" -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma -mf16c -mprefer-vector-width=512)
tern_isa(neon "aarch64|arm64" -march=armv8.2-a+dotprod)
