/* Text in buffers of fixed size, without stdio: what is printed and written is short, and stdio's
 * buffers and locale would be half of a supervisor's memory. */
#ifndef GANTRY_TEXT_H
#define GANTRY_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Always NUL-terminated; what does not fit is cut. */
struct text {
	char *data;
	size_t room, length;
};

#define TEXT_IN(array) ((struct text){.data = (array), .room = sizeof(array)})

void text_add(struct text *t, const char *more);
/* Decimal, at least `width` characters, padded on the left with `pad`. */
void text_number(struct text *t, long long value, int width, char pad);
/* `more` fit for one line of a terminal: all but ASCII and all control characters become `?`
 * (terminals obey some beyond ASCII too), at most 120 bytes. */
void text_add_plain(struct text *t, const char *more);

/* Whether all of `word` is a number in `base` no greater than `max`; the number goes to *value. */
bool parse_number(const char *word, unsigned base, unsigned long long max, unsigned long long *value);

/* The operating system's words for errno `number`. */
const char *error_text(int number);

/* complain("a", "b") prints `gantry: SUBCOMMAND: ab` as one line, in one write, to standard error. */
#define complain(...) complain_words((const char *const[]){__VA_ARGS__, NULL})
void complain_words(const char *const *words);
/* The SUBCOMMAND of complain(); NULL where the line is not for people yet, and begins with "a". */
extern const char *subcommand;

#endif
