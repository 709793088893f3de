import type { Result } from './contender.ts';

/** A bound from the project's own list of figures; without one a comparison is only shown. */
export interface Bound {
  /** The most that is allowed. */
  readonly most: number;
}

/** One line of the outcome. */
export interface Row {
  /** What was measured; the same for the rows that share it. */
  readonly figure: string;
  readonly unit: 'ms' | 'MB';
  readonly ours: number;
  /** Whom we are compared with, and what they came to; undefined for an absolute bound. */
  readonly peer?: { readonly name: string; readonly value: number };
  /** On `ours / peer.value`, or on `ours` where there is no peer. */
  readonly bound?: Bound;
}

/** Our result, the first, against each of the others; `bounds` by the peer's name. */
export function rowsOf(
  figure: string,
  [ours, ...peers]: readonly Result[],
  bounds: Readonly<Record<string, number>>,
): Row[] {
  return peers.map((peer) => {
    const most = bounds[peer.name];
    return {
      figure,
      unit: 'ms',
      ours: ours?.milliseconds ?? Number.NaN,
      peer: { name: peer.name, value: peer.milliseconds },
      ...(most === undefined ? {} : { bound: { most } }),
    };
  });
}

/** What the bound applies to: the ratio, or our own figure where there is nobody to compare with. */
export function judged(row: Row): number {
  return row.peer === undefined ? row.ours : row.ours / row.peer.value;
}

/** Whether the row keeps its bound; undefined where it has none. */
export function isKept({ bound, ...row }: Row): boolean | undefined {
  return bound === undefined ? undefined : judged(row) <= bound.most;
}

/** The rows as a table of plain text, columns padded. */
export function formatRows(rows: readonly Row[]): string {
  const header = ['FIGURE', 'OURS', 'PEER', 'THEIRS', 'RATIO', 'BOUND', ''];
  const cells = rows.map((row, index) => {
    const repeated = rows[index - 1]?.figure === row.figure;
    return [
      repeated ? '' : row.figure,
      repeated && row.peer !== undefined ? '' : amount(row.ours, row.unit),
      row.peer?.name ?? '',
      row.peer === undefined ? '' : amount(row.peer.value, row.unit),
      row.peer === undefined ? '' : judged(row).toFixed(2),
      boundOf(row),
      { true: 'ok', false: 'OVER', undefined: '' }[String(isKept(row))] ?? '',
    ];
  });
  const table = [header, ...cells];
  const widths = header.map((_, column) =>
    Math.max(...table.map((line) => line[column]?.length ?? 0)),
  );
  return table
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function boundOf({ bound, peer, unit }: Row): string {
  if (bound === undefined) return '';
  return peer === undefined ? `<= ${amount(bound.most, unit)}` : `<= ${bound.most.toFixed(2)}`;
}

function amount(value: number, unit: Row['unit']): string {
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2)} ${unit}`;
}
