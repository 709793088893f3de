#include "text.h"

#include <string.h>
#include <unistd.h>

const char *subcommand = "run";

static void add_bytes(struct text *t, const char *bytes, size_t length)
{
	if (t->room == 0)
		return;
	size_t left = t->room - 1 - t->length;
	if (length > left)
		length = left;
	memcpy(t->data + t->length, bytes, length);
	t->length += length;
	t->data[t->length] = '\0';
}

void text_add(struct text *t, const char *more)
{
	add_bytes(t, more, strlen(more));
}

void text_number(struct text *t, long long value, int width, char pad)
{
	char digits[24];
	size_t at = sizeof digits;
	unsigned long long rest = value < 0 ? 0ULL - (unsigned long long)value : (unsigned long long)value;
	do {
		digits[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest != 0);
	if (value < 0)
		digits[--at] = '-';
	for (int length = (int)(sizeof digits - at); length < width; length++)
		add_bytes(t, &pad, 1);
	add_bytes(t, digits + at, sizeof digits - at);
}

void text_add_plain(struct text *t, const char *more)
{
	size_t length = 0;
	for (; length < 120 && more[length] != '\0'; length++) {
		unsigned char c = (unsigned char)more[length];
		char shown = c < ' ' || c >= 127 ? '?' : (char)c;
		add_bytes(t, &shown, 1);
	}
	if (more[length] != '\0')
		text_add(t, "...");
}

bool parse_number(const char *word, unsigned base, unsigned long long max, unsigned long long *value)
{
	unsigned long long sum = 0;
	if (*word == '\0')
		return false;
	for (; *word != '\0'; word++) {
		unsigned digit = (unsigned)*word - '0';
		if (digit >= base || __builtin_mul_overflow(sum, base, &sum) ||
		    __builtin_add_overflow(sum, digit, &sum) || sum > max)
			return false;
	}
	*value = sum;
	return true;
}

const char *error_text(int number)
{
	const char *words = strerrordesc_np(number);
	return words != NULL ? words : "Unknown error";
}

void complain_words(const char *const *words)
{
	char line[1024];
	struct text t = TEXT_IN(line);

	if (subcommand != NULL) {
		text_add(&t, "gantry: ");
		text_add(&t, subcommand);
		text_add(&t, ": ");
	}
	for (; *words != NULL; words++)
		text_add(&t, *words);
	if (t.length > sizeof line - 2)
		t.length = sizeof line - 2;
	line[t.length] = '\n';
	/* Nothing can be done about a standard error that takes no line. */
	ssize_t written = write(STDERR_FILENO, line, t.length + 1);
	(void)written;
}
