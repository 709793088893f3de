import { writeFileSync } from 'node:fs';
import type { Reporter, SerializedError, TestCase, TestModule, Vitest } from 'vitest/node';

/** What a run came to; `test/run` makes its last line of it. */
interface Summary {
  passed: number;
  failed: number;
  skipped: number;
}

/**
 * One line per test file, the whole story of what failed, and the reason of every skip. The counts
 * go to the file that `GANTRY_TEST_SUMMARY` names.
 */
export default class PlainReporter implements Reporter {
  readonly #summary: Summary = { passed: 0, failed: 0, skipped: 0 };
  #vitest: Vitest | undefined;

  onInit(vitest: Vitest): void {
    this.#vitest = vitest;
  }

  onTestModuleEnd(module: TestModule): void {
    const tests = [...module.children.allTests()];
    const failed = tests.filter((test) => test.result().state === 'failed');
    const skipped = tests.filter((test) => test.result().state === 'skipped');
    const passed = tests.length - failed.length - skipped.length;
    const suiteErrors = [module, ...module.children.allSuites()].flatMap((suite) => suite.errors());
    this.#summary.passed += passed;
    this.#summary.failed += failed.length + suiteErrors.length;
    this.#summary.skipped += skipped.length;

    const counts = [`${passed} passed`];
    if (failed.length + suiteErrors.length > 0) {
      counts.push(`${failed.length + suiteErrors.length} failed`);
    }
    if (skipped.length > 0) counts.push(`${skipped.length} skipped`);
    const seconds = (module.diagnostic().duration / 1000).toFixed(1);
    const word = failed.length + suiteErrors.length > 0 ? 'FAIL' : 'ok  ';
    console.log(`${word} ${module.relativeModuleId}: ${counts.join(', ')} in ${seconds} s`);
    const narrowed = this.#vitest?.config.testNamePattern !== undefined;
    for (const test of narrowed ? [] : skipped) {
      console.log(`     skipped: ${test.fullName}: ${reasonOf(test)}`);
    }
    for (const test of failed) this.#explain(test.fullName, test.result().errors ?? []);
    if (suiteErrors.length > 0) this.#explain('outside of any test', suiteErrors);
  }

  onTestRunEnd(_modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    this.#summary.failed += unhandled.length;
    if (unhandled.length > 0) this.#explain('unhandled', unhandled);
    const path = process.env['GANTRY_TEST_SUMMARY'];
    if (path !== undefined) writeFileSync(path, `${line(this.#summary)}\n`);
  }

  #explain(name: string, errors: readonly SerializedError[]): void {
    console.log(`\n  failed: ${name}`);
    for (const error of errors) this.#vitest?.logger.printError(error);
  }
}

function line({ passed, failed, skipped }: Summary): string {
  const counts = `${passed} passed, ${failed} failed`;
  return skipped === 0 ? counts : `${counts}, ${skipped} skipped`;
}

function reasonOf(test: TestCase): string {
  const result = test.result();
  const note = result.state === 'skipped' ? result.note : undefined;
  return note ?? 'no reason given';
}
