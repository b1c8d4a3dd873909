#include "server/grpc/oip_tensor.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Inference__ModelInferRequest__InferInputTensor input_tensor;
typedef Inference__ModelInferResponse__InferOutputTensor output_tensor;
typedef Inference__ModelInferRequest__ParametersEntry parameter_entry;
typedef Inference__ModelMetadataResponse__TensorMetadata tensor_metadata;

static const char model_version[] = "1";

/* Name and type of each output. */
static const struct {
    const char *name;
    const char *datatype;
} output_kinds[PITH_INFER_OUTPUTS] = {
    [PITH_INFER_COMPRESSED_TEXT] = {"compressed_text", "BYTES"},
    [PITH_INFER_INPUT_TOKENS] = {"input_tokens", "UINT32"},
    [PITH_INFER_KEPT_TOKENS] = {"kept_tokens", "UINT32"},
};

bool pith_infer_version_is_known(const char *version) {
    return version[0] == '\0' || strcmp(version, model_version) == 0;
}

static char *text_of(const char *constant) {
    return (char *)(uintptr_t)constant; /* protobuf-c has no const */
}

static ProtobufCBinaryData bytes_of(const char *text) {
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text_of(text)};
}

/* --- parameters --------------------------------------------------------------------------- */

static pith_status bad_parameter(pith_fault *fault, const char *name, const char *expected) {
    char field[PITH_FAULT_FIELD_BYTES];
    (void)snprintf(field, sizeof field, "parameters.%s", name);
    return pith_fault_set(fault, PITH_INVALID, field, "expected %s", expected);
}

/* Any of the numbers, or text that is one. NaN: it is none. */
static double number_of(const Inference__InferParameter *value) {
    switch (value->parameter_choice_case) {
    case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_INT64_PARAM:
        return (double)value->int64_param;
    case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_UINT64_PARAM:
        return (double)value->uint64_param;
    case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_DOUBLE_PARAM:
        return value->double_param;
    case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_STRING_PARAM: {
        char *end;
        errno = 0;
        double number = strtod(value->string_param, &end);
        return end == value->string_param || *end != '\0' || errno != 0 ? NAN : number;
    }
    default:
        return NAN;
    }
}

static pith_status set_budget(Pith__V1__CompressRequest *out, const char *name, double number,
                              pith_fault *fault) {
    if (out->budget_case != PITH__V1__COMPRESS_REQUEST__BUDGET__NOT_SET) {
        return bad_parameter(fault, name, "one of target_ratio, max_tokens and threshold");
    }
    if (strcmp(name, "max_tokens") == 0) {
        if (!(number >= 1 && number <= UINT32_MAX) || number != floor(number)) {
            return bad_parameter(fault, name, "a whole number over 0");
        }
        out->budget_case = PITH__V1__COMPRESS_REQUEST__BUDGET_MAX_TOKENS;
        out->max_tokens = (uint32_t)number;
    } else if (strcmp(name, "threshold") == 0) {
        if (!(number >= 0 && number <= 1)) {
            return bad_parameter(fault, name, "a number from 0 to 1");
        }
        out->budget_case = PITH__V1__COMPRESS_REQUEST__BUDGET_THRESHOLD;
        out->threshold = number;
    } else {
        if (!(number > 0 && number <= 1)) {
            return bad_parameter(fault, name, "a number over 0 and at most 1");
        }
        out->budget_case = PITH__V1__COMPRESS_REQUEST__BUDGET_TARGET_RATIO;
        out->target_ratio = number;
    }
    return PITH_OK;
}

static pith_status set_profile(Pith__V1__CompressRequest *out,
                               const Inference__InferParameter *value, pith_fault *fault) {
    bool text =
        value->parameter_choice_case == INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_STRING_PARAM;
    if (text && strcmp(value->string_param, "faithful") == 0) {
        out->profile = PITH__V1__PROFILE__PROFILE_FAITHFUL;
    } else if (text && strcmp(value->string_param, "kompress") == 0) {
        out->profile = PITH__V1__PROFILE__PROFILE_KOMPRESS;
    } else {
        return bad_parameter(fault, "profile", "faithful or kompress");
    }
    return PITH_OK;
}

/* Parameters that Triton's clients send to its scheduler and that mean nothing here. */
static bool is_triton_parameter(const char *name) {
    return strncmp(name, "sequence_", 9) == 0 || strncmp(name, "triton_", 7) == 0 ||
           strcmp(name, "priority") == 0 || strcmp(name, "timeout") == 0;
}

static pith_status read_parameter(const char *name, const Inference__InferParameter *value,
                                  Pith__V1__CompressRequest *out, pith_fault *fault) {
    static const char *const budgets[] = {"target_ratio", "max_tokens", "threshold"};
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        if (strcmp(name, budgets[i]) == 0) {
            return set_budget(out, name, number_of(value), fault);
        }
    }
    if (strcmp(name, "profile") == 0) {
        return set_profile(out, value, fault);
    }
    if (strcmp(name, "fold_repeats") == 0) {
        if (value->parameter_choice_case !=
            INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_BOOL_PARAM) {
            return bad_parameter(fault, name, "true or false");
        }
        out->fold_repeats = value->bool_param;
        return PITH_OK;
    }
    if (is_triton_parameter(name)) {
        return PITH_OK;
    }
    return pith_fault_set(fault, PITH_INVALID, "parameters",
                          "\"%.64s\" is not one of target_ratio, max_tokens, threshold, profile, "
                          "fold_repeats",
                          name);
}

static pith_status read_parameters(const pith_infer_request *message,
                                   Pith__V1__CompressRequest *out, pith_fault *fault) {
    static const Inference__InferParameter none = INFERENCE__INFER_PARAMETER__INIT;
    if (message->n_parameters > PITH_INFER_PARAMETERS_MAX) {
        return pith_fault_set(fault, PITH_INVALID, "parameters", "%zu, at most %d are allowed",
                              message->n_parameters, PITH_INFER_PARAMETERS_MAX);
    }
    pith_status status = PITH_OK;
    for (size_t i = 0; i < message->n_parameters && status == PITH_OK; i++) {
        const parameter_entry *entry = message->parameters[i];
        status =
            read_parameter(entry->key, entry->value == NULL ? &none : entry->value, out, fault);
    }
    return status;
}

/* --- input -------------------------------------------------------------------------------- */

static pith_status bad_input(pith_fault *fault, const char *what) {
    return pith_fault_set(fault, PITH_INVALID, "inputs", "%s", what);
}

/* How many elements the shape has, into the answer's form; a scalar is one. */
static bool read_shape(const input_tensor *tensor, pith_infer_form *form) {
    form->n = 1;
    form->n_shape = tensor->n_shape == 0 ? 1 : tensor->n_shape;
    form->shape[0] = 1;
    bool good = tensor->n_shape <= PITH_INFER_SHAPE_MAX;
    for (size_t i = 0; i < tensor->n_shape && good; i++) {
        good = tensor->shape[i] >= 1 &&
               (uint64_t)tensor->shape[i] <= PITH_INFER_ELEMENTS_MAX / form->n;
        form->shape[i] = tensor->shape[i];
        form->n *= good ? (size_t)tensor->shape[i] : 1;
    }
    return good;
}

bool pith_infer_next_text(const pith_infer_request *message, size_t *at,
                          ProtobufCBinaryData *text) {
    enum { LENGTH_BYTES = 4 }; /* little endian, before each element */
    if (message->n_raw_input_contents == 0) {
        const Inference__InferTensorContents *contents = message->inputs[0]->contents;
        if (*at >= contents->n_bytes_contents) {
            return false;
        }
        *text = contents->bytes_contents[(*at)++];
        return true;
    }
    const ProtobufCBinaryData *raw = &message->raw_input_contents[0];
    size_t left = raw->len - *at;
    size_t len = 0;
    for (size_t i = 0; i < LENGTH_BYTES && left >= LENGTH_BYTES; i++) {
        len |= (size_t)raw->data[*at + i] << (8 * i);
    }
    if (left < LENGTH_BYTES || len > left - LENGTH_BYTES) {
        return false;
    }
    *text = (ProtobufCBinaryData){.len = len, .data = raw->data + *at + LENGTH_BYTES};
    *at += LENGTH_BYTES + len;
    return true;
}

static pith_status read_contents(const pith_infer_request *message, const input_tensor *tensor,
                                 const pith_infer_form *form, pith_fault *fault) {
    if (form->raw && tensor->contents != NULL) {
        return bad_input(fault, "contents and raw_input_contents are both given");
    }
    if (form->raw && message->n_raw_input_contents != 1) {
        return pith_fault_set(fault, PITH_INVALID, "raw_input_contents", "expected one");
    }
    if (!form->raw && tensor->contents == NULL) {
        return bad_input(fault, "expected its elements in bytes_contents");
    }
    ProtobufCBinaryData text;
    size_t at = 0;
    size_t n = 0;
    while (n <= form->n && pith_infer_next_text(message, &at, &text)) {
        n++;
    }
    if (form->raw && (n != form->n || at != message->raw_input_contents[0].len)) {
        return pith_fault_set(fault, PITH_INVALID, "raw_input_contents",
                              "expected %zu elements: of each its length in four bytes, then its "
                              "bytes",
                              form->n);
    }
    return n == form->n ? PITH_OK
                        : bad_input(fault, "the shape and bytes_contents differ in elements");
}

static pith_status read_input(const pith_infer_request *message, pith_infer_form *form,
                              pith_fault *fault) {
    if (message->n_inputs != 1 || strcmp(message->inputs[0]->name, "text") != 0) {
        return bad_input(fault, "expected one tensor, named \"text\"");
    }
    const input_tensor *tensor = message->inputs[0];
    if (strcmp(tensor->datatype, "BYTES") != 0) {
        return bad_input(fault, "the tensor \"text\" has the datatype BYTES");
    }
    if (!read_shape(tensor, form)) {
        return pith_fault_set(fault, PITH_INVALID, "inputs",
                              "the tensor \"text\" has 1 to %d elements in at most %d dimensions",
                              PITH_INFER_ELEMENTS_MAX, PITH_INFER_SHAPE_MAX);
    }
    return read_contents(message, tensor, form, fault);
}

static pith_status read_outputs(const pith_infer_request *message, pith_infer_form *form,
                                pith_fault *fault) {
    form->n_outputs = 0;
    if (message->n_outputs > PITH_INFER_OUTPUTS) {
        return pith_fault_set(fault, PITH_INVALID, "outputs", "%zu, at most %d are there",
                              message->n_outputs, PITH_INFER_OUTPUTS);
    }
    for (size_t i = 0; i < message->n_outputs; i++) {
        int k = 0;
        while (k < PITH_INFER_OUTPUTS &&
               strcmp(message->outputs[i]->name, output_kinds[k].name) != 0) {
            k++;
        }
        if (k == PITH_INFER_OUTPUTS) {
            return pith_fault_set(fault, PITH_INVALID, "outputs", "\"%.64s\" is not an output",
                                  message->outputs[i]->name);
        }
        form->outputs[form->n_outputs++] = (pith_infer_output)k;
    }
    for (int k = 0; k < PITH_INFER_OUTPUTS && message->n_outputs == 0; k++) {
        form->outputs[form->n_outputs++] = (pith_infer_output)k;
    }
    return PITH_OK;
}

pith_status pith_infer_read(const pith_infer_request *message, Pith__V1__CompressRequest *out,
                            pith_infer_form *form, pith_fault *fault) {
    *out = (Pith__V1__CompressRequest)PITH__V1__COMPRESS_REQUEST__INIT;
    *form = (pith_infer_form){.raw = message->n_raw_input_contents > 0};
    if (!pith_infer_version_is_known(message->model_version)) {
        return pith_fault_set(fault, PITH_NOT_FOUND, "model_version", "the only version is \"%s\"",
                              model_version);
    }
    out->id = bytes_of(message->id);
    out->model = bytes_of(message->model_name);
    pith_status status = read_input(message, form, fault);
    if (status == PITH_OK) {
        status = read_outputs(message, form, fault);
    }
    return status == PITH_OK ? read_parameters(message, out, fault) : status;
}

/* --- answers ------------------------------------------------------------------------------ */

static void put_u32(uint8_t *out, uint32_t value) {
    for (size_t i = 0; i < sizeof value; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint32_t count_of(const pith_infer_element *element, pith_infer_output kind) {
    return kind == PITH_INFER_INPUT_TOKENS ? element->input_tokens : element->kept_tokens;
}

/* An output's elements, each number or length in four bytes. False: the arena is full. */
static bool put_raw(ProtobufCBinaryData *out, const pith_infer_element *elements, size_t n,
                    pith_infer_output kind, pith_arena *arena) {
    bool is_text = kind == PITH_INFER_COMPRESSED_TEXT;
    size_t len = n * sizeof(uint32_t);
    for (size_t i = 0; i < n && is_text; i++) {
        len += elements[i].text_len;
    }
    uint8_t *raw = pith_arena_alloc(arena, 1, len);
    *out = (ProtobufCBinaryData){.len = len, .data = raw};
    for (size_t i = 0; i < n && raw != NULL; i++) {
        const pith_infer_element *e = &elements[i];
        put_u32(raw, is_text ? (uint32_t)e->text_len : count_of(e, kind));
        raw += sizeof(uint32_t);
        if (is_text && e->text_len > 0) {
            memcpy(raw, e->text, e->text_len);
            raw += e->text_len;
        }
    }
    return raw != NULL;
}

static bool put_contents(output_tensor *tensor, const pith_infer_element *elements, size_t n,
                         pith_infer_output kind, pith_arena *arena) {
    bool is_text = kind == PITH_INFER_COMPRESSED_TEXT;
    Inference__InferTensorContents *contents = pith_arena_alloc(arena, 1, sizeof *contents);
    ProtobufCBinaryData *texts = is_text ? pith_arena_alloc(arena, n, sizeof *texts) : NULL;
    uint32_t *numbers = is_text ? NULL : pith_arena_alloc(arena, n, sizeof *numbers);
    if (contents == NULL || (is_text ? texts == NULL : numbers == NULL)) {
        return false;
    }
    *contents = (Inference__InferTensorContents)INFERENCE__INFER_TENSOR_CONTENTS__INIT;
    for (size_t i = 0; i < n; i++) {
        if (is_text) {
            texts[i] = (ProtobufCBinaryData){.len = elements[i].text_len,
                                             .data = (uint8_t *)text_of(elements[i].text)};
        } else {
            numbers[i] = count_of(&elements[i], kind);
        }
    }
    contents->n_bytes_contents = is_text ? n : 0;
    contents->bytes_contents = texts;
    contents->n_uint_contents = is_text ? 0 : n;
    contents->uint_contents = numbers;
    tensor->contents = contents;
    return true;
}

size_t pith_infer_arena_bytes(const pith_infer_form *form, const pith_infer_element *elements) {
    size_t bytes = PITH_INFER_ARENA_BYTES + PITH_ARENA_CHUNK_BYTES * PITH_INFER_OUTPUTS +
                   form->n * (sizeof(ProtobufCBinaryData) + 3 * sizeof(uint32_t));
    for (size_t i = 0; i < form->n && form->raw; i++) {
        bytes += elements[i].text_len;
    }
    return bytes;
}

pith_status pith_infer_write(const pith_infer_element *elements, const pith_infer_form *form,
                             const char *model, const char *id, pith_arena *arena,
                             pith_infer_response *out, pith_err *err) {
    *out = (pith_infer_response)INFERENCE__MODEL_INFER_RESPONSE__INIT;
    size_t n = form->n_outputs;
    output_tensor *tensors = pith_arena_alloc(arena, n, sizeof *tensors);
    output_tensor **list = pith_arena_alloc(arena, n, sizeof(output_tensor *));
    ProtobufCBinaryData *raw = pith_arena_alloc(arena, n, sizeof *raw);
    bool fits = tensors != NULL && list != NULL && raw != NULL;
    out->outputs = list;
    out->raw_output_contents = raw;
    for (size_t i = 0; i < n && fits; i++) {
        pith_infer_output kind = form->outputs[i];
        tensors[i] = (output_tensor)INFERENCE__MODEL_INFER_RESPONSE__INFER_OUTPUT_TENSOR__INIT;
        tensors[i].name = text_of(output_kinds[kind].name);
        tensors[i].datatype = text_of(output_kinds[kind].datatype);
        tensors[i].n_shape = form->n_shape;
        tensors[i].shape = (int64_t *)(uintptr_t)form->shape;
        list[i] = &tensors[i];
        fits = form->raw ? put_raw(&raw[i], elements, form->n, kind, arena)
                         : put_contents(&tensors[i], elements, form->n, kind, arena);
    }
    if (!fits) {
        return pith_fail(err, PITH_EXHAUSTED, "no room for an answer");
    }
    out->n_outputs = n;
    out->n_raw_output_contents = form->raw ? n : 0;
    out->model_name = text_of(model);
    out->model_version = text_of(model_version);
    out->id = text_of(id);
    return PITH_OK;
}

/* As many elements as a call has. */
static int64_t any_length[] = {-1};

static void describe_tensor(tensor_metadata *out, const char *name, const char *datatype) {
    *out = (tensor_metadata)INFERENCE__MODEL_METADATA_RESPONSE__TENSOR_METADATA__INIT;
    out->name = text_of(name);
    out->datatype = text_of(datatype);
    out->n_shape = 1;
    out->shape = any_length;
}

pith_status pith_infer_describe(const pith_model_info *model, pith_arena *arena,
                                Inference__ModelMetadataResponse *out, pith_err *err) {
    enum { TENSORS = 1 + PITH_INFER_OUTPUTS };
    static char *versions[] = {(char *)(uintptr_t)model_version};
    *out = (Inference__ModelMetadataResponse)INFERENCE__MODEL_METADATA_RESPONSE__INIT;
    tensor_metadata *tensors = pith_arena_alloc(arena, TENSORS, sizeof *tensors);
    tensor_metadata **list = pith_arena_alloc(arena, TENSORS, sizeof(tensor_metadata *));
    if (tensors == NULL || list == NULL) {
        return pith_fail(err, PITH_EXHAUSTED, "no room for metadata");
    }
    describe_tensor(&tensors[0], "text", "BYTES");
    for (int k = 0; k < PITH_INFER_OUTPUTS; k++) {
        describe_tensor(&tensors[1 + k], output_kinds[k].name, output_kinds[k].datatype);
    }
    for (int i = 0; i < TENSORS; i++) {
        list[i] = &tensors[i];
    }
    out->name = text_of(model->name);
    out->n_versions = 1;
    out->versions = versions;
    out->platform = text_of("pith_modernbert");
    out->n_inputs = 1;
    out->inputs = list;
    out->n_outputs = PITH_INFER_OUTPUTS;
    out->outputs = list + 1;
    return PITH_OK;
}
