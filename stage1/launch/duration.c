#include "duration.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *unit;
	double milliseconds;
} units[] = {{"ns", 1e-6}, {"us", 1e-3}, {"\xc2\xb5s", 1e-3}, {"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 36e5}};

/* Digits with at most one point among or before them; *end is what follows. */
static double number(const char *word, const char **end)
{
	size_t length = strspn(word, "0123456789");
	if (length > 0 && word[length] == '.')
		length += 1 + strspn(word + length + 1, "0123456789");
	*end = word + length;
	return length > 0 ? strtod(word, NULL) : -1;
}

static double unit_of(const char **word)
{
	size_t length = strcspn(*word, "0123456789.");
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (strlen(units[i].unit) == length && memcmp(*word, units[i].unit, length) == 0) {
			*word += length;
			return units[i].milliseconds;
		}
	return -1;
}

static _Bool is_among(const char *word, const char *const *words)
{
	for (; *words != NULL; words++)
		if (strcmp(word, *words) == 0)
			return 1;
	return 0;
}

long long parse_duration(const char *word)
{
	/* Go's strconv.ParseBool, which rkt asks first. */
	static const char *const yes[] = {"", "1", "t", "T", "true", "TRUE", "True", NULL};
	static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False", NULL};
	double sum = 0;
	if (is_among(word, yes))
		return -1;
	if (is_among(word, no))
		return 0;
	const _Bool negative = *word == '-';
	word += negative || *word == '+';
	if (*word == '\0')
		return -2;
	if (strcmp(word, "0") == 0)
		return 0;
	while (*word != '\0') {
		double count = number(word, &word);
		double unit = count < 0 ? -1 : unit_of(&word);
		if (unit < 0)
			return -2;
		sum += count * unit;
	}
	if (negative && sum > 0)
		return -1;
	/* Anything that is not nothing waits at least a moment. */
	return sum > 1e15 ? -1 : sum < 1 && sum > 0 ? 1 : (long long)sum;
}
