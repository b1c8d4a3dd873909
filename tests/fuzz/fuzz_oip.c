/* ModelInfer requests: wire check, decoding, tensors and parameters. What is accepted becomes a
 * request of Pith's own with the text that was sent, and can be answered in the form asked for. */
#include "server/grpc/oip_tensor.h"
#include "server/grpc/request.h"
#include "server/grpc/wire.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES_MAX = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds) {
        abort();
    }
}

static void answer(const pith_infer_form *form, const pith_infer_request *message,
                   const pith_infer_element *elements) {
    pith_arena arena;
    pith_err err = {0};
    pith_infer_response out;
    pith_arena_init(&arena, pith_infer_arena_bytes(form, elements));
    require(pith_infer_write(elements, form, "m", message->id, &arena, &out, &err) == PITH_OK);
    size_t len = inference__model_infer_response__get_packed_size(&out);
    uint8_t *packed = malloc(len + 1);
    require(packed != NULL && inference__model_infer_response__pack(&out, packed) == len);
    require(out.n_outputs == form->n_outputs);
    require(out.n_raw_output_contents == (form->raw ? form->n_outputs : 0));
    free(packed);
    pith_arena_reset(&arena);
}

/* Every text that was sent, read as Pith's own and sent back. */
static void echo(const pith_infer_request *message, const pith_infer_form *form,
                 Pith__V1__CompressRequest *asked, pith_arena *arena, size_t size) {
    static pith_infer_element elements[PITH_INFER_ELEMENTS_MAX];
    require(form->n >= 1 && form->n <= PITH_INFER_ELEMENTS_MAX);
    require(form->n_outputs <= PITH_INFER_OUTPUTS && form->n_shape <= PITH_INFER_SHAPE_MAX);
    size_t at = 0;
    size_t total = 0;
    for (size_t i = 0; i < form->n; i++) {
        pith_compress_request request;
        pith_submit_opts submit = {0};
        pith_fault fault = {0};
        require(pith_infer_next_text(message, &at, &asked->text));
        total += asked->text.len;
        pith_status status =
            pith_request_read(asked, "", TEXT_BYTES_MAX, arena, &request, &submit, &fault);
        require(status != PITH_OK || request.text_len == asked->text.len);
        elements[i] =
            (pith_infer_element){.text = asked->text.len == 0 ? "" : (const char *)asked->text.data,
                                 .text_len = asked->text.len,
                                 .input_tokens = 7,
                                 .kept_tokens = 5};
    }
    require(total <= size && !pith_infer_next_text(message, &at, &asked->text));
    answer(form, message, elements);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const pith_wire_opts opts = {0};
    pith_arena arena;
    pith_fault fault = {0};
    ProtobufCMessage *decoded;
    Pith__V1__CompressRequest asked;
    pith_infer_form form;
    if (pith_wire_decode(&inference__model_infer_request__descriptor, data, size, &opts, &arena,
                         &decoded, &fault) == PITH_OK) {
        const pith_infer_request *message = (const pith_infer_request *)decoded;
        pith_status status = pith_infer_read(message, &asked, &form, &fault);
        if (status == PITH_OK) {
            echo(message, &form, &asked, &arena, size);
        } else {
            require(status == PITH_INVALID || status == PITH_NOT_FOUND);
            require(fault.field[0] != '\0' && fault.err.text[0] != '\0');
        }
    }
    pith_arena_reset(&arena);
    return 0;
}
