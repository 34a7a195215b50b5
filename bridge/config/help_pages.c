/* SPDX-License-Identifier: MIT */
/* Pages of the help that are text: filters, templates, the metrics, the environment. */
#include "bridge/config/help_pages.h"
#include <string.h>
#include "bridge/config/environment.h"
#include "bridge/lib/metrics.h"
#include "bridge/lib/wrap.h"

static const char filter_help[] =
    "A filter: which events. It looks at CloudEvents attributes, and into the data where it says so.\n"
    "\n"
    "  exact: {type: chat.response.generated}     every attribute named is equal\n"
    "  prefix: {type: chat.}                      ... begins with\n"
    "  suffix: {subject: .pdf}                    ... ends with\n"
    "  data: {/collection/key: hr}                what the JSON pointer finds in the data is equal\n"
    "  prefix: {data: {/document/name: \"2026-\"}}  ... begins with (exact and suffix alike)\n"
    "  all: [filter, filter]                      all of them match\n"
    "  any: [filter, filter]                      one of them matches\n"
    "  not: filter                                it does not match\n"
    "\n"
    "Several in one mapping, or a list of filters, means all of them.\n"
    "\n"
    "A JSON pointer (RFC 6901) is the names on the way, each behind a /: /sources/0/name is the name of the first\n"
    "of the sources; ~1 stands for / and ~0 for ~ in a name. Strings, numbers and booleans are compared by their\n"
    "text, numbers as the data writes them. {/error: null} matches when it is null or not there; any other\n"
    "condition on what is not there, an object or a list does not match. Data that is not JSON has nothing in it.\n";

static const char template_help[] =
    "A template: text with expressions in double braces, or a mapping or list with such texts in it.\n"
    "\n"
    "  {{subject}}                        an attribute of the event, or an extension\n"
    "  {{data.output.text}}               what stands there in the data; an element of a list by its number\n"
    "  {{/output/text}}                   the same as a JSON pointer; {{data}} is all of it\n"
    "  {{event}}                          the whole event as CloudEvents JSON\n"
    "  {{webhook.id}}                     the webhook-id: [A-Za-z0-9_-], the same in every attempt\n"
    "  {{data.user.name | \"someone\"}}     that, in JSON, when there is nothing, or null\n"
    "  {{data.user.name | omit}}          the member, element, header or parameter is left out then\n"
    "  {{data.output.text | cut 2000}}    at most so many characters\n"
    "  {{data.output.text | html}}        with &amp; &lt; &gt; for & < >\n"
    "  {{\"{{\"}}                          just this text\n"
    "\n"
    "In a mapping or list, a text that is one expression and nothing else becomes the value as it is in JSON: text: \"{{data.n}}\"\n"
    "may become a number or an object. Beside other text it becomes text. What is put in is escaped as its place wants: in JSON,\n"
    "percent-encoded in `path` and `query`; in headers a control character is refused. Where there is nothing, and neither\n"
    "another value nor omit, the event is rejected: a dead letter that says what is missing.\n"
    "\n"
    "In a path of the source http (type, source, subject, id, time, attributes) a template is over the request:\n"
    "\n"
    "  {{body.user.id}}                   what stands there in the body; {{/user/id}} and {{body}} likewise\n"
    "  {{headers.x-kind}}                 a header, its name in small letters\n"
    "  {{query.tenant}}                   a parameter of the query\n"
    "  {{path.event}}                     a parameter of the path, /v1/kotaemon/{event}\n"
    "\n"
    "with | \"another value\" and | cut 20. Where there is nothing, the attribute is left out, or is what it is by default.\n";

static void help_filter(FILE *out)
{
    wrap_print_page(filter_help, out);
}

static void help_template(FILE *out)
{
    wrap_print_page(template_help, out);
}

static void help_metrics(FILE *out)
{
    fputs("What /metrics of the admin listener shows (aqueduct help admin), in Prometheus text format.\n", out);
    for (const struct metric_family *f = metric_families(); f; f = f->next) {
        fprintf(out, "\n  %s  (%s", f->name, metric_kind_name(f->kind));
        for (size_t i = 0; f->labels[i]; i++)
            fprintf(out, "%s%s", i ? ", " : ", by ", f->labels[i]);
        fprintf(out, ")\n");
        wrap_print(f->help, DOC_INDENT, out);
    }
}

static void help_environment(FILE *out)
{
    wrap_print_page(
        "The environment: any key of the configuration, over what files say, by its path with two underscores between the names:\n"
        "\n"
        "  AQUEDUCT__SINKS__CRM__URL=https://crm.example.com/hooks    # sinks.crm.url\n"
        "  AQUEDUCT__SINKS__CRM__TOPICS='[events]'                    # YAML, where a list or mapping is wanted\n"
        "  AQUEDUCT__ROUTES__0__TOPIC=events                          # the first entry of a list\n"
        "  AQUEDUCT__BROKER__PROPERTIES__SASL_USERNAME=bridge         # _ for - and ., in a key that is there\n"
        "\n"
        "Where there is no file, these make a whole configuration, and each but the first of a group has a default, or says when\n"
        "it is needed. A secret may lie in a file, whose path NAME_FILE says (AQUEDUCT_WEBHOOK_SECRET_FILE=/run/secrets/webhook);\n"
        "it is read again when it changes, as files are at a reload. The environment itself is read once: a change of it is a\n"
        "restart.\n",
        out);
    for (const struct environment_variable *v = environment_variables; v->name; v++) {
        fprintf(out, "\n  %s%s\n", v->name, v->secret ? "  (or _FILE)" : "");
        wrap_print(v->doc, DOC_INDENT, out);
    }
    wrap_print_page(
        "\nBeside a configuration: AQUEDUCT_CONFIG, its files, with colons between; AQUEDUCT_PRESETS, a folder of presets of your\n"
        "own; AQUEDUCT_TOKEN, what `aqueduct tail --url` shows.\n"
        "\n"
        "`aqueduct check --show` says every option that is set, as it is written there (of the small set of variables, as it is in effect), and which file or variable says it.\n",
        out);
}

static const struct {
    const char *name;
    void (*print)(FILE *out);
} help_pages[] = {
    { "filter", help_filter },
    { "template", help_template },
    { "metrics", help_metrics },
    { "environment", help_environment },
};

const char *help_page_name(size_t i)
{
    return i < sizeof help_pages / sizeof *help_pages ? help_pages[i].name : NULL;
}

bool help_page(const char *name, FILE *out)
{
    for (size_t i = 0; i < sizeof help_pages / sizeof *help_pages; i++)
        if (strcmp(help_pages[i].name, name) == 0) {
            help_pages[i].print(out);
            return true;
        }
    return false;
}
