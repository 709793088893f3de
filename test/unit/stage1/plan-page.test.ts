import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const root = join(import.meta.dirname, '../../..');
const page = readFileSync(join(root, 'specs/launch-plan.md'), 'utf8');
const grammar = readFileSync(join(root, 'stage1/launch/grammar.c'), 'utf8');

/** Under which headings of the page a word of these sections may have its row. */
const HEADINGS: readonly (readonly [section: string, heading: RegExp])[] = [
  ['IN_SUPERVISOR', /^Supervisor/],
  ['IN_OUTSIDE', /^Outside|^Pod|^App/],
  ['IN_ANY', /^Pod/],
  ['IN_POD', /^Pod/],
  ['IN_APP', /^App/],
  ['IN_TEARDOWN', /^Teardown/],
];

/** The first words of the rows below each heading. */
function rowsByHeading(): { heading: string; words: string[] }[] {
  return page
    .split(/^#{2,3} /m)
    .slice(1)
    .map((part) => ({
      heading: part.split('\n', 1)[0] ?? '',
      words: [...part.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell = '']) =>
        [...cell.matchAll(/`([a-z-]+)/g)].map(([, word = '']) => word),
      ),
    }));
}

/** The rules of the C that checks plans: word and sections. */
function rules(): [word: string, sections: string[]][] {
  const found = [...grammar.matchAll(/= \{"([a-z-]+)", "[^"]*", ([A-Z_| ]+)\}/g)];
  return found.map(([, word = '', sections = '']) => [word, sections.split(' | ')]);
}

it('specs/launch-plan.md has a row for every word, where the word may stand', () => {
  const rows = rowsByHeading();
  const words = rules().filter(([word]) => word !== 'section');
  expect(words.length).toBeGreaterThan(50);
  const missing = words.flatMap(([word, sections]) =>
    sections
      .filter((section) => {
        const headings = HEADINGS.find(([name]) => name === section)?.[1] ?? /^$/;
        return !rows.some((row) => headings.test(row.heading) && row.words.includes(word));
      })
      .map((section) => `${word}: ${section}`),
  );
  expect(missing).toEqual([]);
});

it('specs/launch-plan.md has rows for words there are, and no others', () => {
  const known = rules().map(([word]) => word);
  expect(
    rowsByHeading()
      .flatMap(({ words }) => words)
      .filter((word) => !known.includes(word)),
  ).toEqual([]);
});
