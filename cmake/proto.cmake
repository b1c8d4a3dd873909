# pith_proto: protobuf-c code of every message the server speaks, and the public descriptor set as a
# C array for reflection. The descriptor set is also published as gen/pith.protoset.
#
# protobuf-c keeps a `string` as a NUL-ended char *, so text with NUL bytes would be cut. Its code is
# therefore generated from a copy of our proto in which every string is `bytes`: the same on the
# wire, with a length. The server checks UTF-8 itself (server/grpc/wire.h). The descriptor set is
# that of the public file, strings included.

find_program(PROTOC protoc REQUIRED)
find_program(PROTOC_C protoc-c REQUIRED)

set(proto_dir ${CMAKE_SOURCE_DIR}/proto)
set(gen_dir ${CMAKE_BINARY_DIR}/gen)
set(stage_dir ${CMAKE_BINARY_DIR}/gen/stage)
file(MAKE_DIRECTORY ${gen_dir} ${stage_dir}/pith/v1)

set(proto_ours pith/v1/compression)
set(proto_coded ${proto_ours} google/protobuf/any google/protobuf/duration google/rpc/status
                google/rpc/error_details grpc/health/v1/health grpc/reflection/v1/reflection
                inference/open_inference)
set(proto_served ${proto_ours} google/rpc/error_details grpc/health/v1/health
                 grpc/reflection/v1/reflection grpc/reflection/v1alpha/reflection
                 inference/open_inference)
list(TRANSFORM proto_coded APPEND .proto OUTPUT_VARIABLE proto_coded_files)
list(TRANSFORM proto_served APPEND .proto OUTPUT_VARIABLE proto_served_files)
list(TRANSFORM proto_coded_files PREPEND ${proto_dir}/ OUTPUT_VARIABLE proto_coded_paths)
list(TRANSFORM proto_served_files PREPEND ${proto_dir}/ OUTPUT_VARIABLE proto_served_paths)
list(TRANSFORM proto_coded PREPEND ${gen_dir}/ OUTPUT_VARIABLE proto_sources)
list(TRANSFORM proto_sources APPEND .pb-c.c)
list(TRANSFORM proto_sources REPLACE "\\.c$" ".h" OUTPUT_VARIABLE proto_headers)

add_custom_command(
    OUTPUT ${proto_sources} ${proto_headers}
    COMMAND ${CMAKE_COMMAND} -D IN=${proto_dir}/${proto_ours}.proto
            -D OUT=${stage_dir}/${proto_ours}.proto -P ${CMAKE_SOURCE_DIR}/cmake/text_fields.cmake
    COMMAND ${PROTOC_C} -I ${stage_dir} -I ${proto_dir} --c_out=${gen_dir} ${proto_coded_files}
    DEPENDS ${proto_coded_paths} ${CMAKE_SOURCE_DIR}/cmake/text_fields.cmake
    COMMENT "Generating protobuf-c code"
    VERBATIM)

add_custom_command(
    OUTPUT ${gen_dir}/pith.protoset ${gen_dir}/descriptor_set.c
    COMMAND ${PROTOC} -I ${proto_dir} --include_imports --descriptor_set_out=${gen_dir}/pith.protoset
            ${proto_served_files}
    COMMAND ${CMAKE_COMMAND} -D IN=${gen_dir}/pith.protoset -D OUT=${gen_dir}/descriptor_set.c
            -D NAME=pith_descriptor_set -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${proto_served_paths} ${proto_coded_paths} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    COMMENT "Embedding the descriptor set"
    VERBATIM)

add_library(pith_proto STATIC ${proto_sources} ${gen_dir}/descriptor_set.c)
target_compile_options(pith_proto PRIVATE -w)
if(PITH_SANITIZE MATCHES "undefined")
    # protobuf-c shifts signed values in its varint reader; every input is checked before it.
    target_compile_options(pith_proto PRIVATE -fno-sanitize=undefined)
endif()
target_include_directories(pith_proto SYSTEM PUBLIC ${gen_dir})
target_link_libraries(pith_proto PUBLIC PkgConfig::PROTOBUFC)

# After the layers are known, at the end of CMakeLists.txt.
cmake_language(DEFER CALL include ${CMAKE_SOURCE_DIR}/cmake/server_tests.cmake)
