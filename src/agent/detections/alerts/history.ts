import * as v from 'valibot';
import { ownerOf } from '../../../core/contract/owner.ts';
import { KeptAlert } from './kept-alert.ts';

/** Number of alerts that `vakt alerts` can show. */
const MAX_KEPT_ALERTS = 200;

/**
 * The latest alerts, oldest first. An update replaces its alert and makes it the newest. Above the limit, the oldest alert of the
 * user with the most alerts is dropped, so that no user's alerts displace another user's.
 */
export class AlertHistory {
  readonly #alerts = new Map<string, KeptAlert>();
  readonly #followers = new Set<(alert: KeptAlert) => void>();

  add(alert: KeptAlert): void {
    this.#alerts.delete(alert.alertId);
    this.#alerts.set(alert.alertId, alert);
    if (this.#alerts.size > MAX_KEPT_ALERTS) this.#alerts.delete(this.#displaced());
    for (const follower of this.#followers) follower(alert);
  }

  #displaced(): string {
    const byUser = new Map<string, string[]>();
    for (const [id, { subject }] of this.#alerts) {
      const user = ownerOf((name) => (Object.hasOwn(subject, name) ? String(subject[name]) : undefined)) ?? '';
      const ids = byUser.get(user);
      if (ids === undefined) byUser.set(user, [id]);
      else ids.push(id);
    }
    const [oldest = ''] = [...byUser.values()].reduce((most, ids) => (ids.length > most.length ? ids : most), []);
    return oldest;
  }

  has(alertId: string): boolean {
    return this.#alerts.has(alertId);
  }

  list(): readonly KeptAlert[] {
    return [...this.#alerts.values()];
  }

  /** Calls `follower` for each alert and update, until the returned function is called. */
  follow(follower: (alert: KeptAlert) => void): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  toJson(): unknown {
    return this.list();
  }

  restore(value: unknown): void {
    if (!Array.isArray(value)) return;
    for (const alert of value.slice(-MAX_KEPT_ALERTS)) {
      const checked = v.safeParse(KeptAlert, alert);
      if (checked.success) this.#alerts.set(checked.output.alertId, checked.output);
    }
  }
}
