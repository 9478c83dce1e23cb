// The types of the integration guide, as they stand there (its `Response` blocks have got names).
// index.ts holds ours against them.

export enum UserRole {
  ANONYMOUS = 'ANONYMOUS',
  CLIENT = 'CLIENT',
  VENDOR = 'VENDOR', 
  AGENT = 'AGENT',
  ADMIN = 'ADMIN'
}

export interface User {
  id: string
  phone: string
  name: string
  role: UserRole
  isActive: boolean
  createdAt: Date
  lastLogin: Date
  metadata: Record<string, any>
}

export interface DeviceListing {
  id: string
  clientId: string
  
  // Device Information (Step 1)
  brand: string
  model: string
  storage: string
  color: string
  condition: 'Excellent' | 'Good' | 'Fair' | 'Poor'
  
  // Technical Details (Step 2)
  imei1: string
  imei2?: string
  batteryHealth: number // 1-100%
  askingPrice: number
  description: string
  
  // Photos & Documentation (Step 3)
  devicePhotos: string[] // S3 URLs
  billPhoto?: string
  hasWarranty: boolean
  warrantyType?: string
  warrantyExpiry?: Date
  
  // Pickup Details (Step 4)
  pickupAddress: {
    streetAddress: string
    city: string
    state: string
    pincode: string
    landmark?: string
  }
  pickupTime: 'morning' | 'afternoon' | 'evening'
  
  // System Fields
  status: 'pending' | 'approved' | 'rejected' | 'live' | 'sold' | 'expired'
  submittedAt: Date
  approvedAt?: Date
  approvedBy?: string
  rejectionReason?: string
  auctionEndTime?: Date
  
  // Analytics
  views: number
  watchers: string[] // user IDs
  
  // Metadata
  metadata: Record<string, any>
}

export interface Bid {
  id: string
  listingId: string
  vendorId: string
  amount: number
  isInstantWin: boolean
  isWinning: boolean
  timestamp: Date
  metadata: Record<string, any>
}

export interface Order {
  id: string
  listingId: string
  clientId: string
  vendorId: string
  agentId?: string
  
  // Pricing
  finalPrice: number
  commissionRate: number
  agentCommission: number
  platformFee: number
  
  // Status Tracking
  status: 'pending_pickup' | 'picked_up' | 'in_transit' | 'delivered' | 'completed' | 'cancelled'
  statusHistory: {
    status: string
    timestamp: Date
    updatedBy: string
    notes?: string
  }[]
  
  // Scheduling
  pickupScheduledAt?: Date
  pickedUpAt?: Date
  deliveredAt?: Date
  completedAt?: Date
  
  metadata: Record<string, any>
}

export interface AgentTask {
  id: string
  agentId: string
  orderId: string
  type: 'pickup' | 'delivery' | 'verification'
  priority: 'high' | 'normal' | 'low'
  
  // Task Details
  description: string
  clientContact: {
    name: string
    phone: string
    address: string
  }
  
  // Status
  status: 'assigned' | 'accepted' | 'in_progress' | 'completed' | 'failed'
  assignedAt: Date
  acceptedAt?: Date
  completedAt?: Date
  
  // Commission
  commissionAmount: number
  isPaid: boolean
  
  metadata: Record<string, any>
}

export interface Notification {
  id: string
  userId: string
  type: 'bid_placed' | 'listing_approved' | 'auction_ending' | 'order_update' | 'task_assigned'
  priority: 'high' | 'normal' | 'low'
  
  title: string
  message: string
  data?: Record<string, any>
  
  // Channels
  isRead: boolean
  sentViaWhatsApp: boolean
  whatsappMessageId?: string
  
  createdAt: Date
  readAt?: Date
}

export type PaginationMeta = {
  page: number
  limit: number
  total: number
  totalPages: number
}

// POST /auth/send-otp
export type PostAuthSendOtpResponse = {
  success: boolean
  message: string
  otpId: string
}

export type PostAuthSendOtpRequest = {
  phone: string // +919876543210
}

// POST /auth/verify-otp
export type PostAuthVerifyOtpResponse = {
  success: boolean
  user: User
  accessToken: string
  refreshToken: string
}

export type PostAuthVerifyOtpRequest = {
  phone: string
  otp: string
  otpId: string
}

// POST /auth/refresh-token
export type PostAuthRefreshTokenResponse = {
  accessToken: string
  refreshToken: string
}

export type PostAuthRefreshTokenRequest = {
  refreshToken: string
}

// POST /auth/logout
export type PostAuthLogoutResponse = {
  success: boolean
}

// POST /listings
export type PostListingsResponse = {
  success: boolean
  listing: DeviceListing
}

// GET /listings
export type GetListingsResponse = {
  listings: DeviceListing[]
  pagination: {
    page: number
    limit: number
    total: number
    totalPages: number
  }
}

// GET /listings/:id
export type GetListingsOneResponse = {
  listing: DeviceListing
  bids: Bid[]
  currentHighestBid?: Bid
}

// PUT /listings/:id/approve
export type PutListingsOneApproveResponse = {
  success: boolean
  listing: DeviceListing
}

export type PutListingsOneApproveRequest = {
  approved: boolean
  rejectionReason?: string
  auctionDurationHours?: number // default 24
}

// PUT /listings/:id/assign-agent
export type PutListingsOneAssignAgentResponse = {
  success: boolean
  assignment: AgentTask
}

export type PutListingsOneAssignAgentRequest = {
  agentId: string
}

// POST /bids
export type PostBidsResponse = {
  success: boolean
  bid: Bid
  isInstantWin: boolean
  message: string
}

export type PostBidsRequest = {
  listingId: string
  amount: number
}

// GET /bids
export type GetBidsResponse = {
  bids: Bid[]
  pagination: PaginationMeta
}

// GET /marketplace
export type GetMarketplaceResponse = {
  listings: (DeviceListing & {
    currentBid?: number
    totalBids: number
    timeLeft: number // minutes
  })[]
  pagination: PaginationMeta
}

// GET /orders
export type GetOrdersResponse = {
  orders: Order[]
  pagination: PaginationMeta
}

// GET /orders/:id
export type GetOrdersOneResponse = {
  order: Order
  listing: DeviceListing
  client: User
  vendor: User
  agent?: User
}

// PUT /orders/:id/status
export type PutOrdersOneStatusResponse = {
  success: boolean
  order: Order
}

export type PutOrdersOneStatusRequest = {
  status: string
  notes?: string
  location?: {
    lat: number
    lng: number
  }
}

// GET /agent/tasks
export type GetAgentTasksResponse = {
  tasks: AgentTask[]
  totalCommission: number
  completedToday: number
}

// PUT /agent/tasks/:id/accept
export type PutAgentTasksOneAcceptResponse = {
  success: boolean
  task: AgentTask
}

// PUT /agent/tasks/:id/complete
export type PutAgentTasksOneCompleteResponse = {
  success: boolean
  task: AgentTask
  commissionEarned: number
}

export type PutAgentTasksOneCompleteRequest = {
  notes?: string
  verificationPhotos?: string[]
}

// GET /admin/dashboard
export type GetAdminDashboardResponse = {
  metrics: {
    pendingReviews: number
    availableAgents: number
    activeListings: number
    pendingAssignments: number
    totalRevenue: number
    platformFees: number
  }
  recentActivity: {
    type: string
    message: string
    timestamp: Date
  }[]
}

// GET /admin/listings/pending
export type GetAdminListingsPendingResponse = {
  listings: DeviceListing[]
}

// GET /admin/agents/available
export type GetAdminAgentsAvailableResponse = {
  agents: (User & {
    activeTasks: number
    completionRate: number
    totalEarnings: number
    rating: number
  })[]
}

// GET /notifications
export type GetNotificationsResponse = {
  notifications: Notification[]
  unreadCount: number
}

// PUT /notifications/:id/read
export type PutNotificationsOneReadResponse = {
  success: boolean
}

// PUT /notifications/mark-all-read
export type PutNotificationsMarkAllReadResponse = {
  success: boolean
  markedCount: number
}
