# Benchmark programs, built on request only. pithd_null is the shipped server with the model runner
# replaced by one that computes nothing.

add_executable(engine_driver EXCLUDE_FROM_ALL bench/serve/engine_driver.c bench/serve/texts.c)
target_link_libraries(engine_driver PRIVATE pith_engine)
add_executable(engine_driver_null EXCLUDE_FROM_ALL bench/serve/engine_driver.c
               bench/serve/texts.c bench/serve/null_runner.c)
target_link_libraries(engine_driver_null PRIVATE pith_engine)
if(TARGET pithd)
    add_executable(pithd_null EXCLUDE_FROM_ALL server/pithd.c bench/serve/null_runner.c)
    target_link_libraries(pithd_null PRIVATE pith_cli)
    # The least a server on the gRPC C core can be, and the clients that drive both.
    add_executable(echo_server EXCLUDE_FROM_ALL bench/serve/echo_server.c)
    target_link_libraries(echo_server PRIVATE PkgConfig::GRPC)
    add_executable(load_client EXCLUDE_FROM_ALL bench/serve/load_client.c bench/serve/texts.c)
    target_link_libraries(load_client PRIVATE pith_server)
    add_executable(http_client EXCLUDE_FROM_ALL bench/serve/http_client.c bench/serve/texts.c)
endif()
# The text path alone: no engine, no model.
add_executable(textpath_driver EXCLUDE_FROM_ALL bench/textpath/driver.c)
target_link_libraries(textpath_driver PRIVATE pith_decide)
foreach(program engine_driver engine_driver_null textpath_driver pithd_null echo_server)
    if(TARGET ${program} AND NOT PITH_SANITIZE AND NOT PITH_FUZZ)
        target_sources(${program} PRIVATE server/allocator.c)
        target_link_libraries(${program} PRIVATE PkgConfig::JEMALLOC)
    endif()
endforeach()
