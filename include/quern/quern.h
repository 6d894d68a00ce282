/*
 * The whole public interface of libquern.
 */
#ifndef QUERN_QUERN_H
#define QUERN_QUERN_H

#include "quern/array.h"
#include "quern/dtype.h"
#include "quern/error.h"
#include "quern/model.h"
#include "quern/net.h"
#include "quern/sequence.h"
#include "quern/view.h"

#endif
