/* The .proto files as gRPC reflection hands them out: FileDescriptorProto bytes, made at build time. */
#ifndef QN_SERVE_DESCRIPTORS_H
#define QN_SERVE_DESCRIPTORS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name; /* "health.proto"; NULL ends the table */
    const uint8_t *data;
    size_t size;
    int needs; /* index of the file it imports, -1 = none */
} qn_descriptor_file;

typedef struct {
    const char *name; /* "inference.ModelInferRequest"; NULL ends the table */
    int file;
} qn_descriptor_symbol;

extern const qn_descriptor_file qn_descriptor_files[];
extern const qn_descriptor_symbol qn_descriptor_symbols[];
extern const char *const qn_descriptor_services[]; /* NULL ends it */

#endif
