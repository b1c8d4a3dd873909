# Benchmark programs, built on request only. pithd_null is the shipped server with the model runner
# replaced by one that computes nothing.

add_executable(engine_driver EXCLUDE_FROM_ALL bench/serve/engine_driver.c)
target_link_libraries(engine_driver PRIVATE pith_engine)
add_executable(engine_driver_null EXCLUDE_FROM_ALL bench/serve/engine_driver.c
               bench/serve/null_runner.c)
target_link_libraries(engine_driver_null PRIVATE pith_engine)
if(TARGET pithd)
    add_executable(pithd_null EXCLUDE_FROM_ALL server/pithd.c bench/serve/null_runner.c)
    target_link_libraries(pithd_null PRIVATE pith_cli)
endif()
foreach(program engine_driver engine_driver_null pithd_null)
    if(TARGET ${program} AND NOT PITH_SANITIZE AND NOT PITH_FUZZ)
        target_sources(${program} PRIVATE server/allocator.c)
        target_link_libraries(${program} PRIVATE PkgConfig::JEMALLOC)
    endif()
endforeach()
