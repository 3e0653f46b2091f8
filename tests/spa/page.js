// A booking page of the spa's own front end: the browser's own WebSocket at the context path, frames with
// type and data, handlers by type, and a reconnect that doubles its wait, five times at most.
class BookingPage {
  handlers = new Map()
  heard = []
  closes = []
  attempts = 0
  delay = 1000

  constructor(userType, userId) {
    this.path = `${window.spaConfig.contextPath}/websocket/booking/${userType}/${userId}`
  }

  connect() {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws'
    const socket = new WebSocket(`${scheme}://${location.host}${this.path}`)
    socket.onopen = () => { this.attempts = 0 }
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data)
      this.heard.push(message)
      this.handlers.get(message.type)?.(message.data)
    }
    socket.onclose = ({ code, reason }) => {
      this.closes.push([code, reason])
      if (this.attempts < 5) setTimeout(() => this.connect(), this.delay * 2 ** this.attempts++)
    }
    this.socket = socket
  }

  on(type, handler) {
    this.handlers.set(type, handler)
  }

  send(type, data) {
    this.socket.send(JSON.stringify({ type, data, timestamp: new Date().toISOString() }))
  }
}

// What somebody at this page would see.
function show(userType, userId) {
  const page = new BookingPage(userType, userId)
  page.bookings = {}
  page.on('BOOKING_CREATED', (booking) => { page.bookings[booking.bookingId] = booking.bookingStatus })
  page.on('BOOKING_STATUS_CHANGED', ({ bookingId, newStatus }) => { page.bookings[bookingId] = newStatus })
  page.on('AVAILABILITY_UPDATED', ({ serviceId, availableSlots }) => {
    if (serviceId === 5) page.free = availableSlots.map(({ time }) => time.slice(0, 5)).join(' ')
  })
  page.on('THERAPIST_SCHEDULE_UPDATED', (day) => { page.day = day })
  page.on('PAYMENT_COMPLETED', (payment) => { page.payment = payment })
  page.on('CONNECTION_ESTABLISHED', (text) => { page.greeting = text })
  page.connect()
  return page
}
