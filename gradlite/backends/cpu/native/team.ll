; The team: threads that compute the parts of one launch after another.
;
; A launch is three words: a function of (part, parts, arguments), its arguments, and how many parts it has. The thread
; that runs a list of launches publishes each that has several parts as a ticket; whoever is awake claims part after
; part of it, the publishing thread among them, which goes on to the next launch when all parts are done. Which thread
; computes a part makes no difference to what is computed. A thread that sleeps, or was interrupted, is not waited for
; unless it holds a part.
;
; The words of `control`, each on a cache line of its own:
;    0  ticket: number of the launch << 32 | parts << 16 | parts that have been claimed
;    8  parts that are done
;   16  function, 17 arguments: of the launch on the ticket
;   24  leave: not 0 where serving threads are to return
;   32  running: not 0 from before a list runs to its end, so that threads wait out what has one part only

; The part that this thread is to compute, in the low 16 bits, under the number of parts; -1 where none is left.
define internal i64 @claim(ptr %control) {
entry:
  br label %read
read:
  %ticket = load atomic i64, ptr %control acquire, align 8
  %claimed = and i64 %ticket, 65535
  %shifted = lshr i64 %ticket, 16
  %parts = and i64 %shifted, 65535
  %left = icmp ult i64 %claimed, %parts
  br i1 %left, label %try, label %none
try:
  %next = add i64 %ticket, 1
  %exchange = cmpxchg ptr %control, i64 %ticket, i64 %next acq_rel monotonic
  %won = extractvalue { i64, i1 } %exchange, 1
  br i1 %won, label %mine, label %read
mine:
  %part = and i64 %ticket, 4294967295
  ret i64 %part
none:
  ret i64 -1
}

; Computes a claimed part. While it is not done the launch is not over, so its function and arguments stay on the ticket.
define internal void @compute(ptr %control, i64 %claimed) {
  %part = and i64 %claimed, 65535
  %parts = lshr i64 %claimed, 16
  %function.at = getelementptr i64, ptr %control, i64 16
  %function = load ptr, ptr %function.at, align 8
  %arguments.at = getelementptr i64, ptr %control, i64 17
  %arguments = load ptr, ptr %arguments.at, align 8
  call void %function(i64 %part, i64 %parts, ptr %arguments)
  %done.at = getelementptr i64, ptr %control, i64 8
  %before = atomicrmw add ptr %done.at, i64 1 release
  ret void
}

; Runs `count` launches, one after the other, with whoever serves.
define void @gradlite_team_run(ptr %control, ptr %launches, i64 %count) {
entry:
  %done.at = getelementptr i64, ptr %control, i64 8
  %function.at = getelementptr i64, ptr %control, i64 16
  %arguments.at = getelementptr i64, ptr %control, i64 17
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %launch, label %end
launch:
  %i = phi i64 [ 0, %entry ], [ %i.next, %over ]
  %at = mul i64 %i, 3
  %words = getelementptr i64, ptr %launches, i64 %at
  %words.1 = getelementptr i64, ptr %words, i64 1
  %words.2 = getelementptr i64, ptr %words, i64 2
  %function = load ptr, ptr %words, align 8
  %arguments = load ptr, ptr %words.1, align 8
  %parts = load i64, ptr %words.2, align 8
  %several = icmp sgt i64 %parts, 1
  br i1 %several, label %publish, label %alone
alone:
  call void %function(i64 0, i64 1, ptr %arguments)
  br label %over
publish:
  store ptr %function, ptr %function.at, align 8
  store ptr %arguments, ptr %arguments.at, align 8
  store atomic i64 0, ptr %done.at monotonic, align 8
  %ticket = load atomic i64, ptr %control monotonic, align 8
  %number = lshr i64 %ticket, 32
  %number.next = add i64 %number, 1
  %number.high = shl i64 %number.next, 32
  %parts.high = shl i64 %parts, 16
  %ticket.next = or i64 %number.high, %parts.high
  store atomic i64 %ticket.next, ptr %control release, align 8
  br label %share
share:
  %claimed = call i64 @claim(ptr %control)
  %got = icmp sge i64 %claimed, 0
  br i1 %got, label %work, label %wait
work:
  call void @compute(ptr %control, i64 %claimed)
  br label %share
wait:
  %done = load atomic i64, ptr %done.at acquire, align 8
  %all = icmp uge i64 %done, %parts
  br i1 %all, label %over, label %pause
pause:
  call void @pause()
  br label %wait
over:
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %count
  br i1 %more, label %launch, label %end
end:
  ret void
}

; Runs `count` launches in this thread alone, part after part: the same results, for who has no team.
define void @gradlite_team_run_alone(ptr %launches, i64 %count) {
entry:
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %launch, label %end
launch:
  %i = phi i64 [ 0, %entry ], [ %i.next, %over ]
  %at = mul i64 %i, 3
  %words = getelementptr i64, ptr %launches, i64 %at
  %words.1 = getelementptr i64, ptr %words, i64 1
  %words.2 = getelementptr i64, ptr %words, i64 2
  %function = load ptr, ptr %words, align 8
  %arguments = load ptr, ptr %words.1, align 8
  %parts = load i64, ptr %words.2, align 8
  br label %part
part:
  %p = phi i64 [ 0, %launch ], [ %p.next, %part ]
  call void %function(i64 %p, i64 %parts, ptr %arguments)
  %p.next = add i64 %p, 1
  %more.parts = icmp slt i64 %p.next, %parts
  br i1 %more.parts, label %part, label %over
over:
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %count
  br i1 %more, label %launch, label %end
end:
  ret void
}

; Computes parts of whatever is published, until told to leave, or until `patience` looks in a row found nothing and no
; list is running.
define void @gradlite_team_serve(ptr %control, i64 %patience) {
entry:
  %leave.at = getelementptr i64, ptr %control, i64 24
  %running.at = getelementptr i64, ptr %control, i64 32
  br label %look
look:
  %idle = phi i64 [ 0, %entry ], [ 0, %work ], [ %idle.next, %pause ]
  %claimed = call i64 @claim(ptr %control)
  %got = icmp sge i64 %claimed, 0
  br i1 %got, label %work, label %idly
work:
  call void @compute(ptr %control, i64 %claimed)
  br label %look
idly:
  %leave = load atomic i64, ptr %leave.at monotonic, align 8
  %stay = icmp eq i64 %leave, 0
  %idle.next = add i64 %idle, 1
  %patient = icmp slt i64 %idle.next, %patience
  %running = load atomic i64, ptr %running.at monotonic, align 8
  %is.running = icmp ne i64 %running, 0
  %wanted = or i1 %patient, %is.running
  %again = and i1 %stay, %wanted
  br i1 %again, label %pause, label %end
pause:
  call void @pause()
  br label %look
end:
  ret void
}
