import type { Duration } from '../base/duration.ts';
import type { AgentError } from '../base/errors.ts';
import type { Answer, RetryCause } from './hub.ts';

/** A connection, an operation or a credential failed; `because` says whether a retry can succeed. */
export class HubFailure extends Error {
  override readonly name = 'HubFailure';
  readonly error: AgentError;
  /** `undefined` if a retry would also be refused. */
  readonly because: RetryCause | undefined;
  /** Minimum delay before the next attempt, when the other side asked for one. */
  readonly after: Duration | undefined;

  constructor(error: AgentError, because: RetryCause | undefined, { after }: { after?: Duration } = {}) {
    super(error.message);
    this.error = error;
    this.because = because;
    this.after = after;
  }

  get answer(): Answer<never> {
    const { error, because, after } = this;
    if (because === undefined) return { status: 'refused', error };
    return { status: 'retry', because, error, ...(after === undefined ? {} : { after }) };
  }
}
