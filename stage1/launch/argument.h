/* What the arguments of a plan's steps may be. */
#ifndef GANTRY_ARGUMENT_H
#define GANTRY_ARGUMENT_H

/* Whether a word is of the kind that a letter stands for; the rules in plan.c are written in them. */
_Bool argument_ok(char kind, const char *word);

/* The flag of a kind of namespace; 0 for another word. */
unsigned long long namespace_flag(const char *kind);

#endif
