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

long long parse_duration(const char *word)
{
	double sum = 0;
	if (*word == '\0' || strcmp(word, "true") == 0)
		return -1;
	if (strcmp(word, "false") == 0 || strcmp(word, "0") == 0)
		return 0;
	while (*word != '\0') {
		double count = number(word, &word);
		double unit = count < 0 ? -1 : unit_of(&word);
		if (unit < 0)
			return -2;
		sum += count * unit;
	}
	/* Anything that is not nothing waits at least a moment. */
	return sum > 1e15 ? -1 : sum < 1 && sum > 0 ? 1 : (long long)sum;
}
