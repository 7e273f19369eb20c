/** The time within which an answer has to come. */

/** Aborts a request after a time, or when the caller's own signal says so. */
export class Deadline {
    private readonly controller = new AbortController();
    private readonly timer: NodeJS.Timeout;
    private readonly abort = (): void => this.controller.abort(this.caller?.reason);

    constructor(
        timeoutMs: number,
        private readonly caller?: AbortSignal,
    ) {
        this.timer = setTimeout(() => this.controller.abort(new DOMException('', 'TimeoutError')), timeoutMs);
        if (caller?.aborted) this.abort();
        caller?.addEventListener('abort', this.abort);
    }

    get signal(): AbortSignal {
        return this.controller.signal;
    }

    /** The answer is in time: from now on only the caller's signal ends it. */
    isKept(): void {
        clearTimeout(this.timer);
    }

    /** Ends the time, and stops listening to the caller's signal, which may live longer than many requests. */
    release(): void {
        this.isKept();
        this.caller?.removeEventListener('abort', this.abort);
    }
}
