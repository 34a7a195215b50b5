/* SPDX-License-Identifier: MIT */
/* The table of verification schemes. */
#include "bridge/verify/table.h"
#include "bridge/verify/scheme.h"

#define VERIFY_DECLARE(VALUE, name, doc) extern const struct scheme scheme_##name;
VERIFY_OWN(VERIFY_DECLARE)

#define VERIFY_ENTRY(VALUE, name, doc)  [VERIFY_##VALUE] = &scheme_##name,
#define VERIFY_SIGNED(VALUE, name, doc) [VERIFY_##VALUE] = &scheme_signed,
static const struct scheme *const table_schemes[VERIFY_COUNT] = { VERIFY_OWN(VERIFY_ENTRY)
                                                                      SIGNATURE_STYLES(VERIFY_SIGNED) };

#define VERIFY_NAME(VALUE, name, doc) { VERIFY_##VALUE, #name },
const struct option_value table_names[] = { VERIFY_SCHEMES(VERIFY_NAME){ 0 } };
const struct option_value table_head_names[] = { VERIFY_OWN(VERIFY_NAME){ 0 } };

const struct scheme *table_scheme(enum verify_scheme scheme)
{
    return table_schemes[scheme];
}

/* Both enums begin with the same list. */
const struct signature_style *table_style(enum verify_scheme scheme)
{
    return (unsigned)scheme < SIGNATURE_COUNT ? signature_style((enum signature)scheme) : NULL;
}

const char *table_name(enum verify_scheme scheme)
{
    return table_names[scheme - 1].text;
}
