/** A user makes so many audit events that some are lost, or that the starts of their programs are excluded. */
export interface AuditFlood {
  readonly time: Date;
  /** The real user id; of a block of subordinate ids, the first one. */
  readonly userId: number;
  /** Events of all users that were lost within five minutes. */
  readonly lost: number;
  /** The user's share of the records that arrived, in percent. */
  readonly share: number;
  /** Set when the kernel no longer reports starts by this user: until when at the latest. */
  readonly excludedUntil?: Date | undefined;
}
