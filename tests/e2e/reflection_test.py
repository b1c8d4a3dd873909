"""Server reflection, v1 and v1alpha: a client that knows nothing finds, describes and calls."""
import sys

from support import Script, descriptor_pb2, make_pool, message_class

SERVICES = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection", "inference.GRPCInferenceService",
            "pith.v1.CompressionService"]


def asker(script, version):
    request = script.messages[f"grpc.reflection.{version}.ServerReflectionRequest"]
    reply = script.messages[f"grpc.reflection.{version}.ServerReflectionResponse"]
    call = script.channel().stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=request.SerializeToString, response_deserializer=reply.FromString)
    return lambda *asked: list(call((request(**one) for one in asked), timeout=20))


def lists_and_finds(script):
    for version in ("v1", "v1alpha"):
        ask = asker(script, version)
        names = [s.name for s in ask({"list_services": ""})[0].list_services_response.service]
        script.check(f"{version}_lists_the_services", sorted(names) == SERVICES, names)
        kinds = [r.WhichOneof("message_response").split("_")[0] for r in ask(
            {"file_by_filename": "pith/v1/compression.proto"}, {"file_by_filename": "none.proto"},
            {"file_containing_symbol": "pith.v1.CompressRequest.text"},
            {"file_containing_symbol": "pith.v1.CompressRequest.budget"},
            {"file_containing_symbol": "pith.v1.PROFILE_KOMPRESS"},
            {"file_containing_symbol": "pith.v1.CompressionService.Compress"},
            {"file_containing_symbol": "google.rpc.BadRequest.FieldViolation"},
            {"file_containing_symbol": "pith.v1.Nothing"},
            {"all_extension_numbers_of_type": "pith.v1.CompressRequest"},
            {"all_extension_numbers_of_type": "x.Y"}, {},
            {"file_containing_extension": {"containing_type": "x.Y", "extension_number": 1}})]
        script.check(f"{version}_answers_each_question_on_one_stream",
                     kinds == ["file", "error", "file", "file", "file", "file", "file", "error", "all",
                               "error", "error", "error"], kinds)
        reply = ask({"host": "h", "file_by_filename": "none.proto"})[0]
        script.check(f"{version}_echoes_the_request",
                     reply.original_request.file_by_filename == "none.proto" and reply.valid_host == "h")


def calls_from_descriptors_alone(script):
    reply = asker(script, "v1")({"file_containing_symbol": "pith.v1.CompressionService"})[0]
    files = [descriptor_pb2.FileDescriptorProto.FromString(raw)
             for raw in reply.file_descriptor_response.file_descriptor_proto]
    script.check("the_file_comes_first_with_its_imports",
                 files[0].name == "pith/v1/compression.proto" and
                 {f.name for f in files} == {"pith/v1/compression.proto", "google/rpc/status.proto",
                                             "google/protobuf/any.proto"}, [f.name for f in files])
    pool = make_pool(reversed(files))  # imports before what needs them
    method = pool.FindServiceByName("pith.v1.CompressionService").methods_by_name["Compress"]
    request, answer = message_class(method.input_type), message_class(method.output_type)
    text = request.DESCRIPTOR.fields_by_name["text"]
    script.check("the_public_descriptor_says_string", text.type == text.TYPE_STRING, text.type)
    call = script.channel().unary_unary("/pith.v1.CompressionService/Compress",
                                        request_serializer=request.SerializeToString,
                                        response_deserializer=answer.FromString)
    script.check("a_dynamic_call_works", call(request(text="three words here"), timeout=20).input_words == 3)


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(lists_and_finds, calls_from_descriptors_alone))
