/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of outcomes: names, words and sentences. */
#include "replicator/session/outcome.h"
#include "common/common.h"

#include <string.h>

static const struct {
	const char *word, *why;
} outcomes[] = {
#define ROW(name, word, sentence) [SESSION_##name] = {word, sentence},
	SESSION_OUTCOMES(ROW)
#undef ROW
};

static bool is_one(enum session_outcome o)
{
	return (unsigned)o < SESSION_OUTCOME_COUNT;
}

const char *session_outcome_name(enum session_outcome o)
{
	return is_one(o) ? outcomes[o].word : outcomes[SESSION_FAILED].word;
}

const char *session_outcome_why(enum session_outcome o)
{
	return is_one(o) ? outcomes[o].why : outcomes[SESSION_FAILED].why;
}

enum session_outcome session_outcome_parse(const char *word)
{
	for (unsigned i = 0; i < SESSION_OUTCOME_COUNT; i++)
		if (!strcmp(word, outcomes[i].word))
			return (enum session_outcome)i;
	tv_log(TV_ERROR, "unknown session outcome '%.40s': taken for 'failed'", word);
	return SESSION_FAILED;
}
