/* Durations as rkt's flags take them (Go's syntax). */
#ifndef GANTRY_DURATION_H
#define GANTRY_DURATION_H

/* `10s`, `1m30s`, `0.5h`, `500ms`; a negative one, true as Go spells it (`t`, `1`) or the empty word: for ever,
 * -1; false (`f`, `0`): 0. In milliseconds; -2 when `word` is none of these. */
long long parse_duration(const char *word);

#endif
