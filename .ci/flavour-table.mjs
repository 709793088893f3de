// Writes the table of flavours and features between the markers in README.md, from the tables in
// src/stage1/features.ts and shipped.ts: as test/conformance/run prints it, which checks that it is true, but
// with what every flavour has in a sentence below. With --check it only says whether the table there is up to date.
import { readFileSync, writeFileSync } from 'node:fs';
import { FEATURES } from '../src/stage1/features.ts';
import { SHIPPED } from '../src/stage1/shipped.ts';

const README = `${import.meta.dirname}/../README.md`;
const BETWEEN =
  /(<!-- flavours: .ci\/flavour-table.mjs writes this -->\n)[\s\S]*(<!-- end of flavours -->)/;

const names = Object.keys(SHIPPED);
const has = (name, feature) => SHIPPED[name].features.includes(feature);
const common = ([feature]) => names.every((name) => has(name, feature));
const features = Object.entries(FEATURES);
const rows = features
  .filter((each) => !common(each))
  .map(([feature, { what }]) => [what, ...names.map((name) => (has(name, feature) ? '✓' : '–'))]);
const table = [['', ...names], ['---', ...names.map(() => ':-:')], ...rows]
  .map((cells) => `| ${cells.join(' | ')} |\n`)
  .join('');
const shared = features.filter(common).map(([, { what }]) => what);
const sentence = `All of them: ${shared.join('; ')}.`;

const before = readFileSync(README, 'utf8');
if (!BETWEEN.test(before)) throw new Error('README.md has no markers for the table of flavours');
const after = before.replace(
  BETWEEN,
  (_, begin, end) => `${begin}\n${table}\n${wrapped(sentence)}\n${end}`,
);
if (!process.argv.includes('--check')) {
  writeFileSync(README, after);
} else if (after !== before) {
  console.error(
    'the table of flavours in README.md is out of date: run bin/node .ci/flavour-table.mjs',
  );
  process.exitCode = 1;
}

/** Lines of at most 110 letters. */
function wrapped(text) {
  return text.replace(/(.{1,110})(?: |$)/g, '$1\n');
}
