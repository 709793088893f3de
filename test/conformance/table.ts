import { FEATURES, type Feature } from '../../src/stage1/features.ts';
import { DUTIES, type Duty, type Result, type Topic } from './trial.ts';

/** What one stage1 was found to do. */
export interface Findings {
  readonly label: string;
  readonly features: ReadonlySet<string>;
  readonly results: readonly Result[];
}

/** A row for each duty and each feature, a column for each stage1. */
export function formatTable(all: readonly Findings[], markdown: boolean): string {
  const rows = [
    ['', '', ...all.map(({ label }) => label)],
    ...(Object.keys(DUTIES) as Duty[]).map((duty) => row(duty, DUTIES[duty], all)),
    ...(Object.keys(FEATURES) as Feature[]).map((name) => row(name, FEATURES[name].what, all)),
  ];
  return markdown ? formatMarkdown(rows) : formatPlain(rows);
}

function row(topic: Topic, what: string, all: readonly Findings[]): string[] {
  return [topic, what, ...all.map((findings) => mark(topic, findings))];
}

/** ✓: it does. ✗: it should. –: not claimed, and refused where it can be asked for. ?: not to be told here. */
function mark(topic: Topic, { features, results }: Findings): string {
  const outcomes = results.filter((result) => result.topic === topic).map(({ outcome }) => outcome);
  if (outcomes.includes('failed')) return '✗';
  if (!Object.hasOwn(DUTIES, topic) && !features.has(topic)) return '–';
  return outcomes.includes('passed') ? '✓' : '?';
}

function formatMarkdown(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows;
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, index) => (index < 2 ? '---' : ':-:'));
  return [head, rule, ...body].map(line).join('\n');
}

function formatPlain(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((cells) => cells[column]?.length ?? 0)),
  );
  return rows
    .map((cells) =>
      cells
        .map((cell, index) => cell.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
