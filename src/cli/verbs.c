/*
 * The table of verbs.
 */
#include <string.h>

#include "cli/verbs.h"

static const qn_verb *const verbs[] = {
    &qn_verb_look,   &qn_verb_init,   &qn_verb_check,      &qn_verb_train,
    &qn_verb_eval,   &qn_verb_serve,  &qn_verb_predict,    &qn_verb_convert,
    &qn_verb_doctor, &qn_verb_schema, &qn_verb_completion, &qn_verb_help,
};

const qn_verb *qn_verb_at(int index)
{
    return index < (int)(sizeof verbs / sizeof *verbs) ? verbs[index] : NULL;
}

const qn_verb *qn_verb_find(const char *name)
{
    for (int i = 0; qn_verb_at(i); i++)
        if (strcmp(qn_verb_at(i)->name, name) == 0)
            return qn_verb_at(i);
    return NULL;
}
