SELECT queue, lane, priority, place FROM clock
