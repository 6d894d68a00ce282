/*
 * gRPC server reflection: which services there are and the descriptors of their messages, so that grpcurl and other
 * tools need no .proto files. v1 and v1alpha have the same messages on the wire.
 */
#include "handlers_priv.h"

#include <stdio.h>

#include "reflection_v1.pb-c.h"
#include "serve/descriptors.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest question;
typedef Grpc__Reflection__V1__ServerReflectionResponse reply_message;
enum { FILES_MAX = 4, SERVICES_MAX = 16 };

static int find_file(const char *name)
{
    for (int i = 0; qn_descriptor_files[i].name; i++)
        if (strcmp(qn_descriptor_files[i].name, name) == 0)
            return i;
    return -1;
}

static int find_symbol(const char *name)
{
    for (int i = 0; qn_descriptor_symbols[i].name; i++)
        if (strcmp(qn_descriptor_symbols[i].name, name) == 0)
            return qn_descriptor_symbols[i].file;
    return -1;
}

static void send_reply(qn_call *call, const question *asked, reply_message *reply)
{
    reply->valid_host = asked->host;
    reply->original_request = (question *)(uintptr_t)asked;
    qn_call_stream(call, &reply->base);
    qn_grpc_next(call->request);
}

static void send_error(qn_call *call, const question *asked, int code, const char *text)
{
    Grpc__Reflection__V1__ErrorResponse error;
    grpc__reflection__v1__error_response__init(&error);
    error.error_code = code;
    error.error_message = (char *)(uintptr_t)text;
    reply_message reply;
    grpc__reflection__v1__server_reflection_response__init(&reply);
    reply.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    reply.error_response = &error;
    send_reply(call, asked, &reply);
}

/* A file and what it imports. */
static void send_files(qn_call *call, const question *asked, int file)
{
    if (file < 0) {
        send_error(call, asked, QN_GRPC_NOT_FOUND, "no such file or symbol");
        return;
    }
    ProtobufCBinaryData files[FILES_MAX];
    size_t count = 0;
    for (int i = file; i >= 0 && count < FILES_MAX; i = qn_descriptor_files[i].needs)
        files[count++] = (ProtobufCBinaryData){qn_descriptor_files[i].size,
                                               (uint8_t *)(uintptr_t)qn_descriptor_files[i].data};
    Grpc__Reflection__V1__FileDescriptorResponse found;
    grpc__reflection__v1__file_descriptor_response__init(&found);
    found.n_file_descriptor_proto = count;
    found.file_descriptor_proto = files;
    reply_message reply;
    grpc__reflection__v1__server_reflection_response__init(&reply);
    reply.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    reply.file_descriptor_response = &found;
    send_reply(call, asked, &reply);
}

static void send_services(qn_call *call, const question *asked)
{
    Grpc__Reflection__V1__ServiceResponse items[SERVICES_MAX];
    Grpc__Reflection__V1__ServiceResponse *pointers[SERVICES_MAX];
    size_t count = 0;
    for (int i = 0; qn_descriptor_services[i] && count < SERVICES_MAX; i++) {
        grpc__reflection__v1__service_response__init(&items[count]);
        items[count].name = (char *)(uintptr_t)qn_descriptor_services[i];
        pointers[count] = &items[count];
        count++;
    }
    Grpc__Reflection__V1__ListServiceResponse list;
    grpc__reflection__v1__list_service_response__init(&list);
    list.n_service = count;
    list.service = pointers;
    reply_message reply;
    grpc__reflection__v1__server_reflection_response__init(&reply);
    reply.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    reply.list_services_response = &list;
    send_reply(call, asked, &reply);
}

void qn_stream_reflect(qn_call *call, qn_str message)
{
    const question *asked =
        qn_call_unpack(call, &grpc__reflection__v1__server_reflection_request__descriptor, message,
                       &call->message_arena);
    if (!asked)
        return;
    switch (asked->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        send_files(call, asked, find_file(asked->file_by_filename));
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        send_files(call, asked, find_symbol(asked->file_containing_symbol));
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        send_services(call, asked);
        break;
    default:
        send_error(call, asked, QN_GRPC_NOT_FOUND, "there are no extensions here");
        break;
    }
}
