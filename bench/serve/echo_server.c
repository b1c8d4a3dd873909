/* The least that a server on the gRPC C core can be: every call, whatever its method, is answered
 * with its own message. One queue, one thread. What pithd's cost per call is measured against.
 *
 *   echo_server      prints "listening on 127.0.0.1:PORT" to stderr; SIGTERM ends it */
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARMED = 64, MESSAGE_BYTES_MAX = 1 << 24 };

typedef enum stage { STAGE_ARRIVED, STAGE_READ, STAGE_SENT } stage;

typedef struct call {
    grpc_call *core;
    grpc_call_details details;
    grpc_metadata_array metadata;
    grpc_byte_buffer *message;
    int cancelled;
    stage stage;
} call;

static grpc_server *server;
static grpc_completion_queue *queue;
static volatile sig_atomic_t stopping;

static void on_term(int signal_number) {
    (void)signal_number;
    stopping = 1;
}

static bool arm(void) {
    call *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return false;
    }
    grpc_call_details_init(&c->details);
    grpc_metadata_array_init(&c->metadata);
    return grpc_server_request_call(server, &c->core, &c->details, &c->metadata, queue, queue, c) ==
           GRPC_CALL_OK;
}

static void drop(call *c) {
    if (c->message != NULL) {
        grpc_byte_buffer_destroy(c->message);
    }
    grpc_call_details_destroy(&c->details);
    grpc_metadata_array_destroy(&c->metadata);
    if (c->core != NULL) {
        grpc_call_unref(c->core);
    }
    free(c);
}

static void start(call *c, const grpc_op *ops, size_t n_ops, stage next) {
    c->stage = next;
    if (grpc_call_start_batch(c->core, ops, n_ops, c, NULL) != GRPC_CALL_OK) {
        abort();
    }
}

static void on_event(call *c, bool ok) {
    grpc_op ops[4];
    memset(ops, 0, sizeof ops);
    if (c->stage == STAGE_SENT || !ok) {
        drop(c);
        return;
    }
    if (c->stage == STAGE_ARRIVED) {
        if (!arm()) {
            abort();
        }
        ops[0].op = GRPC_OP_RECV_MESSAGE;
        ops[0].data.recv_message.recv_message = &c->message;
        start(c, ops, 1, STAGE_READ);
        return;
    }
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[1].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[1].data.send_status_from_server.status = GRPC_STATUS_OK;
    ops[2].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    ops[2].data.recv_close_on_server.cancelled = &c->cancelled;
    ops[3].op = GRPC_OP_SEND_MESSAGE;
    ops[3].data.send_message.send_message = c->message;
    start(c, ops, c->message != NULL ? 4 : 3, STAGE_SENT);
}

int main(void) {
    struct sigaction action = {.sa_handler = on_term};
    (void)sigaction(SIGTERM, &action, NULL);
    grpc_init();
    grpc_arg arg = {.type = GRPC_ARG_INTEGER,
                    .key = (char *)(size_t)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
                    .value.integer = MESSAGE_BYTES_MAX};
    grpc_channel_args args = {.num_args = 1, .args = &arg};
    server = grpc_server_create(&args, NULL);
    queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server, queue, NULL);
    grpc_server_credentials *plain = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(server, "127.0.0.1:0", plain);
    grpc_server_credentials_release(plain);
    grpc_server_start(server);
    for (int i = 0; i < ARMED; i++) {
        if (!arm()) {
            return 1;
        }
    }
    (void)fprintf(stderr, "listening on 127.0.0.1:%d\n", port);
    while (!stopping) {
        gpr_timespec until =
            gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(200, GPR_TIMESPAN));
        grpc_event event = grpc_completion_queue_next(queue, until, NULL);
        if (event.type == GRPC_OP_COMPLETE) {
            on_event(event.tag, event.success != 0);
        }
    }
    return 0; /* the process ends with its calls: nobody is listened to any more */
}
