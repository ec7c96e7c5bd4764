/** The counts of a queued event in the account. */
export interface EventTally {
  /** The event's name, `ProcessCreate`. */
  readonly name: string;
  /** Counted when it is delivered or dropped: the number of its payload elements, or 1 for a snapshot. */
  readonly elements: number;
  /** Occurrences collected for it: more than `elements` if it was aggregated. */
  readonly occurrences: number;
}

/** An event on its way into a queue. */
export interface OutgoingEvent extends EventTally {
  /** The envelope as JSON text, exactly as it is sent. */
  readonly json: string;
  /** See ownerOf; absent if no user's share limits it. It is not stored. */
  readonly owner?: string | undefined;
}

/** An event in a queue. */
export interface QueuedEvent extends OutgoingEvent {
  /** Incremented by one per event of its queue, also across restarts. */
  readonly position: number;
  /** Size of `json` in UTF-8, in bytes. Provided by the store, so that the string needn't be encoded again. */
  readonly jsonBytes: number;
}
