// A test runner for Stryker, loaded by its worker processes. It configures the tests as `npm test` does. Stryker's own runner
// can't load Mocha 12.
import { INSTRUMENTER_CONSTANTS } from '@stryker-mutator/api/core';
import { commonTokens, declareFactoryPlugin, PluginKind, tokens } from '@stryker-mutator/api/plugin';
import {
  DryRunStatus,
  determineHitLimitReached,
  TestStatus,
  toMutantRunResult,
} from '@stryker-mutator/api/test-runner';
import { loadTests } from './mocha.mjs';

const STATUS = { passed: TestStatus.Success, failed: TestStatus.Failed };

class MutantRunner {
  #files;
  #mocha;
  /** Shared with the instrumented sources. */
  #context;

  constructor(files) {
    this.#files = files;
    const { NAMESPACE } = INSTRUMENTER_CONSTANTS;
    globalThis[NAMESPACE] ??= {};
    this.#context = globalThis[NAMESPACE];
  }

  capabilities() {
    return { reloadEnvironment: false }; // ES modules can't be unloaded
  }

  /** Runs all tests without a mutant, and measures which of them reach which mutant. */
  async dryRun() {
    const result = await this.#run({ bail: false });
    return { ...result, mutantCoverage: this.#context.mutantCoverage };
  }

  /** Runs the tests that reach a mutant, until one of them fails. */
  async mutantRun({ activeMutant, testFilter, hitLimit, mutantActivation }) {
    this.#context.hitLimit = hitLimit;
    this.#context.hitCount = hitLimit === undefined ? undefined : 0;
    if (mutantActivation === 'static') this.#context.activeMutant = activeMutant.id; // while modules are loaded
    const result = await this.#run({ bail: true, mutant: activeMutant.id, tests: testFilter });
    return toMutantRunResult(result);
  }

  dispose() {
    this.#mocha?.dispose();
  }

  async #run({ bail, mutant, tests }) {
    const context = this.#context;
    try {
      this.#mocha ??= await loadTests(this.#files, {
        beforeEach() {
          context.currentTestId = this.currentTest?.fullTitle();
        },
      });
    } catch (error) {
      return { status: DryRunStatus.Error, errorMessage: error };
    }
    const mocha = this.#mocha;
    mocha.cleanReferencesAfterRun(false).reporter(class Silent {});
    mocha.grep(tests === undefined ? /^/ : new RegExp(`^(?:${tests.map(escaped).join('|')})$`));
    stopAtFailure(mocha.suite, bail);
    context.activeMutant = mutant;
    const results = [];
    await new Promise((resolve) => {
      const runner = mocha.run(resolve);
      runner.on('pass', (test) => results.push(resultOf(test)));
      runner.on('fail', (test, error) => results.push({ ...resultOf(test), failureMessage: String(error?.message) }));
    });
    const timeout = determineHitLimitReached(context.hitCount, context.hitLimit);
    return timeout ?? { status: DryRunStatus.Complete, tests: results };
  }
}

/** The result of a test, or of a hook that failed. */
function resultOf(test) {
  const id = test.fullTitle();
  return { id, name: id, timeSpentMs: test.duration ?? 0, status: STATUS[test.state] ?? TestStatus.Failed };
}

function stopAtFailure(suite, bail) {
  suite.bail(bail);
  for (const each of suite.suites) stopAtFailure(each, bail);
}

function escaped(title) {
  return title.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

const compiled = (test) => test.replace(/^test\//, '').replace(/\.ts$/, '.js');
const create = ({ testFiles }) => new MutantRunner(testFiles.map(compiled));
create.inject = tokens(commonTokens.options);

export const strykerPlugins = [declareFactoryPlugin(PluginKind.TestRunner, 'vakt', create)];
