export interface GcOptions {
  readonly graceSeconds: number;
  readonly expirePreparedSeconds: number;
  readonly markOnly: boolean;
  readonly info?: (line: string) => void;
  readonly warn?: (line: string) => void;
}
export interface GcSummary {
  readonly marked: string[];
  readonly removed: string[];
  readonly kept: string[];
  readonly failed: { uuid: string; error: unknown }[];
}
export declare function gcPods(dataDir: string, options: GcOptions): GcSummary;
