# Instruction sets are chosen per file by its name and at run time by the backend; everything else
# is compiled for the base architecture.
set(isa_avx2 -O3 -mavx2 -mfma -mf16c)
set(isa_avx512 ${isa_avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq)
set(isa_avx512bf16 ${isa_avx512} -mavx512bf16)
set(isa_shani -msha -msse4.1)
foreach(isa avx2 avx512 avx512bf16 shani)
    file(GLOB_RECURSE found CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/*_${isa}.c
         ${CMAKE_SOURCE_DIR}/runtime/*_${isa}.c)
    if(found)
        set_source_files_properties(${found} PROPERTIES COMPILE_OPTIONS "${isa_${isa}}")
    endif()
endforeach()
