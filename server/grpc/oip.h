/* inference.GRPCInferenceService: the Open Inference Protocol, version 2, over the engine.
 *
 * Their service pointer is the pith_compression. ModelInfer is a Compress in other clothes: the
 * same checks, limits, admission and errors. */
#ifndef PITH_SERVER_GRPC_OIP_H
#define PITH_SERVER_GRPC_OIP_H

#include "server/grpc/call.h"

extern const pith_method pith_method_server_live;
extern const pith_method pith_method_server_ready;
extern const pith_method pith_method_model_ready;
extern const pith_method pith_method_server_metadata;
extern const pith_method pith_method_model_metadata;
extern const pith_method pith_method_model_infer;

#endif
