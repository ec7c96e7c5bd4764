import { AgentError } from '../../../src/core/base/errors.ts';
import type {
  Answer,
  HubClient,
  HubSignal,
  HubStatus,
  TwinDocument,
  TwinSection,
} from '../../../src/core/contract/hub.ts';
import type { Message } from '../../../src/core/contract/message.ts';
import { applyPatch, type Members } from '../../../src/core/twin/sections.ts';

/** A hub that answers at once. */
export class FakeHub implements HubClient {
  state: HubStatus['state'] = 'connected';
  desired: TwinSection = { $version: 1 };
  reported: Members = { $version: 1 };
  reads = 0;
  readonly patches: Members[] = [];
  /** Answers given instead, first one first. */
  readonly readAnswers: Answer<TwinDocument>[] = [];
  readonly reportAnswers: Answer<undefined>[] = [];
  readonly #listeners: [event: string, listener: () => void][] = [];

  async send(_message: Message): Promise<Answer<void>> {
    return { status: 'refused', error: new AgentError('INTERNAL', 'refused', '') };
  }

  async readTwin(): Promise<Answer<TwinDocument>> {
    this.reads++;
    const document = { desired: this.desired, reported: this.reported as TwinSection };
    return this.readAnswers.shift() ?? { status: 'accepted', value: structuredClone(document) };
  }

  async report(patch: Members): Promise<Answer<undefined>> {
    this.patches.push(patch);
    const answer = this.reportAnswers.shift() ?? { status: 'accepted', value: undefined };
    if (answer.status === 'accepted') this.reported = applyPatch(this.reported, patch);
    return answer;
  }

  status = (): HubStatus => ({ state: this.state, credential: { kind: 'test' } });

  on(event: string, listener: () => void): void {
    this.#listeners.push([event, listener]);
  }

  emit(event: HubSignal): void {
    for (const [name, listener] of this.#listeners) if (name === event) listener();
  }

  desire(desired: Record<string, unknown>): void {
    this.desired = { ...desired, $version: this.desired.$version + 1 };
    this.emit('desired');
  }
}
