import { oneLine } from './print.ts';

/** The width of a tab stop: rkt's tables pad their cells with tabs, which scripts split at. */
const TAB = 8;

/**
 * Rows as rkt prints them, each on one line whatever text an image brought: each cell but the last filled up with tabs to the width of its column, which
 * is the next tab stop after the longest cell. Every line ends in a newline.
 */
export function formatTable(texts: readonly (readonly string[])[]): string {
  const rows = texts.map((row) => row.map(oneLine));
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.slice(0, -1).entries()) {
      const width = Math.floor(lengthOf(cell) / TAB + 1) * TAB;
      widths[column] = Math.max(widths[column] ?? 0, width);
    }
  }
  return rows.map((row) => `${formatRow(row, widths)}\n`).join('');
}

function formatRow(row: readonly string[], widths: readonly number[]): string {
  return row
    .map((cell, column) => {
      if (column === row.length - 1) return cell;
      return cell + '\t'.repeat(Math.ceil(((widths[column] ?? 0) - lengthOf(cell)) / TAB));
    })
    .join('');
}

/** In code points, as Go's tabwriter counts. */
function lengthOf(cell: string): number {
  let length = 0;
  for (const _ of cell) length++;
  return length;
}
